"""Print the headline of a report, from the tables alone."""

from math import inf, isnan
from pathlib import Path

from pipeline.comparison.levels import PRIMARY
from pipeline.config.labels import setting_parts
from pipeline.config.plan import BASELINE
from pipeline.records.rows import read_rows
from pipeline.reporting.labels import verdict_cell
from pipeline.reporting.markdown import INTERVAL, Formatter
from pipeline.terminal.tables import LONGEST, say, show, table

ARTIFACTS, REPORTS = Path("artifacts"), Path("reports")


def show_headline(protocol: str) -> None:
    """Print the test accuracy, difference, interval and verdict of every arm.

    Args:
        protocol: The name of the protocol.

    Raises:
        Refusal: A table is missing.
    """
    contrasts = read_rows(ARTIFACTS / protocol / "contrasts.csv")
    primary = [row for row in contrasts if row["metric"] == PRIMARY and not row["repeats"]]
    primary.sort(key=lambda row: inf if isnan(row["difference"]) else -row["difference"])
    rows = table("arm", "accuracy", "difference", "verdict", title=f"{protocol}: test accuracy")
    arms, *numbers, _ = rows.columns
    arms.min_width = LONGEST
    for column in numbers:
        column.no_wrap = True
    formatter = Formatter()
    rows.add_row(BASELINE, f"{formatter.percent(primary[0]['baseline_mean'])} %", "", "")
    for row in primary:
        setting = "".join(f"\n  {part}" for part in setting_parts(row["setting"]))
        difference = formatter.change(row, unit="")
        rows.add_row(
            f"{row['arm']}{setting}",
            f"{formatter.percent(row['arm_mean'])} %",
            difference,
            verdict_cell(row),
        )
    show(rows)
    say(
        f"Differences in percentage points, with their {INTERVAL}. "
        "Verdicts are corrected for the number of arms, intervals are not."
    )
    say(f"Full report: {REPORTS / protocol / 'report.md'}")


def show_summary(report: Path, text: str) -> None:
    """Print the summary with which the text of a report begins, and where the report is.

    Args:
        report: The path of the report, to print.
        text: Its Markdown.
    """
    _, summary, *_ = text.split("\n\n")
    say(summary.replace("**", ""))
    say(f"Full report: {report}")
