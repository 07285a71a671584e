"""Write the page of overtuning: the gain of every search over the default."""

from collections.abc import Iterator

from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.labels import setting_cell
from pipeline.reporting.pages._page import Page

ORDER = 55
FIRST = (
    "First: the first setting in the file of the arm, or the lower end of its range before any "
    "extension. "
)


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page, if an arm has its default among its settings."""
    if len(data.overtuning):
        title = "Overtuning"
        yield Page("overtuning", title, overtuning_body(data))


def overtuning_body(data: ReportData) -> str:
    """Return the differences in test accuracy on the seeds of confirmation."""
    cells = [
        {
            "arm": row["arm"],
            "chosen": setting_cell(row["setting"]),
            "compared with": row["other"],
            "other setting": setting_cell(row["other_setting"]),
            "chosen (%)": data.format.percent(row["chosen_mean"]),
            "other (%)": data.format.percent(row["other_mean"]),
            "difference (points)": data.format.points(row["difference"]),
            md.INTERVAL: md.unbroken(data.format.points_interval(row["low"], row["high"]))
            or md.VOID,
            "n": str(row["n"]),
        }
        for row in rows_of(data.overtuning)
    ]
    first = FIRST if "first" in set(data.overtuning["other"]) else ""
    caption = (
        "Difference: test accuracy, chosen minus other. Default: the default of the regularizer, "
        f"or the value of the protocol. {first}n: seeds at which both have a completed run, on the "
        "same kind of machine. "
        f"Interval: {md.CONFIDENCE} Student-t interval of the mean difference over seeds; not "
        "corrected, no verdict."
    )
    below = len(data.overtuning[data.overtuning["difference"] < 0])
    return md.join_parts(
        "# Overtuning",
        "A search may choose a setting whose validation accuracy was high by chance. To check "
        "this, an arm that tried its default setting and chose another one is also trained with "
        "the default on the confirmation seeds. If the first setting of its list is neither of the "
        "two, it is trained with this setting as well. Other arms are not in the table. A "
        f"difference below 0 is a sign of overtuning: here {below} of {len(data.overtuning)}.",
        md.format_table(cells, caption, words=("arm", "chosen", "compared with", "other setting")),
    )
