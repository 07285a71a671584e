"""Write the page of costs in training and at test, counted in operations."""

from collections.abc import Iterator

import pandas as pd

from pipeline.comparison.levels import ENSEMBLE
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.labels import efficiency_name
from pipeline.reporting.pages._page import COMPLETED, Page
from pipeline.reporting.pages._pretrainings import FROM_PAGE, cost_note

ORDER = 30


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page."""
    body = md.join_parts(
        "# Cost",
        cost_table(data),
        budgets(data),
        md.section("Accuracy against cost", efficiency_table(data)),
    )
    yield Page("cost", "Cost", body)


def cost_table(data: ReportData) -> str:
    """Return the cost of every arm in training and at test."""
    arms = data.labelled(data.costs)
    rows = [
        {
            "arm": row["label"],
            "training FLOPs": md.format_operations(row["training_flops"]),
            "training (x baseline)": md.format_ratio(row["training_ratio"]),
            "updates": md.format_operations(row["updates"]),
            "forward passes at test": str(row["passes"]),
            "FLOPs per test example": md.format_operations(row["test_flops"]),
            "n": str(row["n"]),
        }
        for row in rows_of(arms)
    ]
    caption = (
        f"Means over n runs. {COMPLETED} No intervals. FLOPs of matrix products, convolutions and "
        "attention are counted; this table has no measured times. `gapwise report` writes those of "
        "your own runs to timing.md. Forward passes at test: as many as the test rule of the arm "
        f"needs.{cost_note(data, FROM_PAGE)}"
    )
    return md.join_parts(md.format_table(rows, caption, words=("arm",)), left_out(arms))


def efficiency_table(data: ReportData) -> str:
    """Return accuracy and cost of efficient choices, and of every ensemble; empty without costs."""
    rows = data.efficiency
    shown = rows[rows["efficient"].astype(bool) | (rows["kind"] == ENSEMBLE)]
    shown = shown.sort_values(["training_ratio", "test_ratio", "accuracy"], kind="stable")
    cells = [
        {
            "choice": efficiency_name(row),
            "training (x baseline)": md.format_ratio(row["training_ratio"]),
            "test (x baseline)": md.format_ratio(row["test_ratio"]),
            "test accuracy (%)": md.unbroken(
                data.format.percent_band(row | {"mean": row["accuracy"]})
            ),
            "n": str(row["n"]),
            "efficient": "yes" if row["efficient"] else "no",
        }
        for row in rows_of(shown)
    ]
    if not cells:
        return ""
    has_raw = any(str(row["choice"]).endswith("raw)") for row in cells)
    raw = " Raw: the last weights, where an arm averages weights." if has_raw else ""
    caption = (
        f"n: seeds of an arm, or groups of an ensemble. Interval: {md.CONFIDENCE} Student-t "
        "interval of the mean. Test rule: that in the name of a choice, otherwise that of the arm. "
        f"Efficient: each of the other {len(rows) - 1} measured choices is less accurate, or costs "
        "more for training or for a test example. The table has all ensembles, and those arms and "
        f"test rules that are efficient. Every pass counts.{raw}{cost_note(data, FROM_PAGE)}"
    )
    return md.format_table(cells, caption, words=("choice", "efficient"))


def left_out(arms: pd.DataFrame) -> str:
    """Return the operations that are not counted, by the arms that use them; empty if none are."""
    using = arms[arms["uncounted"] != ""]
    if using.empty:
        return ""
    lines = []
    for names, rows in using.groupby("uncounted", sort=False):
        operations = ", ".join(f"`{name}`" for name in str(names).split(", "))
        lines.append(f"{operations}: {', '.join(f'**{label}**' for label in rows['label'])}")
    words = "These operations are not counted in any cost:"
    return f"{words}\n\n{md.format_bullets(lines)}"


def budgets(data: ReportData) -> str:
    """Return a line for every arm that took another number of updates than the baseline."""
    usual = md.format_operations(data.baseline("updates")["mean"])
    arms = data.labelled(data.costs).dropna(subset="updates_ratio")
    lines = [
        f"**{row['label']}** took {md.format_operations(row['updates'])} updates on average, "
        f"{md.format_ratio(row['updates_ratio'])} of the baseline's {usual}."
        for row in rows_of(arms[arms["updates_ratio"] != 1])
    ]
    if not lines:
        return "Every arm took as many updates as the baseline."
    words = (
        "These arms took a different number of updates, which also changes the learning-rate "
        "schedule. Both changes are part of their effect."
    )
    return f"{words}\n\n{md.format_bullets(lines)}"
