"""Write the page of costs in training and at test, counted in operations."""

from collections.abc import Iterator

import pandas as pd

from pipeline.config.plan import BASELINE
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.pages._page import Page

ORDER = 30


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page."""
    body = md.join_parts("# Cost", cost_table(data), budgets(data))
    yield Page("cost", "Cost of training and testing, counted", body)


def cost_table(data: ReportData, study: str | None = None) -> str:
    """Return the cost of every arm in training and at test, or of one study alone."""
    arms = data.labelled(data.costs)
    if study is not None:
        arms = arms[(arms["study"] == study) | (arms["arm"] == BASELINE)]
    rows = [
        {
            "arm": row["label"],
            **({} if study is None else data.trials_cell(study, row["arm"])),
            "training FLOPs": md.format_operations(row["training_flops"]),
            "training (x baseline)": md.format_ratio(row["training_ratio"]),
            "updates": md.format_operations(row["updates"]),
            "forward passes at test": str(row["passes"]),
            "FLOPs per test image": md.format_operations(row["test_flops"]),
            "n": str(row["n"]),
        }
        for row in arms.to_dict("records")
    ]
    caption = (
        "n: done confirmation runs, over which means are taken, without intervals. Counted, not "
        "timed: matrix products, convolutions and attention. `gapwise report` writes the seconds "
        "of your own runs to timing.md. Rule: the forward passes are those of each arm's test rule."
    )
    return md.join_parts(md.format_table(rows, caption, words=("arm",)), left_out(arms))


def left_out(arms: pd.DataFrame) -> str:
    """Return the operations that are not counted, by the arms that use them; empty if none are."""
    using = arms[arms["uncounted"] != ""]
    if using.empty:
        return ""
    lines = []
    for names, rows in using.groupby("uncounted", sort=False):
        operations = ", ".join(f"`{name}`" for name in str(names).split(", "))
        lines.append(f"{operations}: {', '.join(f'**{label}**' for label in rows['label'])}")
    words = "Not counted, neither above nor in any ratio of costs:"
    return f"{words}\n\n{md.format_bullets(lines)}"


def budgets(data: ReportData) -> str:
    """Return a line for every arm that took another number of updates than the baseline."""
    usual = md.format_operations(data.baseline("updates")["mean"])
    arms = data.labelled(data.costs).dropna(subset="updates_ratio")
    lines = [
        f"**{row['label']}** took {md.format_operations(row['updates'])} updates on average, "
        f"{md.format_ratio(row['updates_ratio'])} of the baseline's {usual}."
        for row in arms[arms["updates_ratio"] != 1].to_dict("records")
    ]
    if not lines:
        return "Every arm took as many updates as the baseline."
    words = (
        "Budgets differ, and with them how far the learning-rate schedule ran: both are part of "
        "the effect."
    )
    return f"{words}\n\n{md.format_bullets(lines)}"
