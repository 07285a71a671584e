"""The headline of a report at the terminal.

Separate because it is read from the tables alone, without torch.
"""

import re
from pathlib import Path

from pipeline.comparison.matching import PRIMARY
from pipeline.config.plan import BASELINE
from pipeline.records.tables import read_table
from pipeline.reporting.tables import INTERVAL, percent, points, points_interval
from pipeline.terminal.tables import say, show, table

ARTIFACTS, REPORTS = Path("artifacts"), Path("reports")
PARTS = re.compile(r", (?![^(]*\))")  # between the parts of a strength's label


def show_headline(protocol: str) -> None:
    """Every arm's test accuracy with its difference, interval and verdict, and where the whole report lies. Raises Refusal."""
    contrasts = read_table(ARTIFACTS / protocol / "contrasts.csv")
    primary = contrasts[contrasts["metric"] == PRIMARY].sort_values(
        "difference", ascending=False, kind="stable"
    )
    shown = table("arm", "accuracy", "difference", "verdict", title=f"{protocol}: test accuracy")
    for column in shown.columns[1:]:
        column.no_wrap = True
    shown.add_row(BASELINE, f"{percent(primary['baseline_mean'].iloc[0])} %", "", "")
    for row in primary.to_dict("records"):
        strength = "".join(f"\n  {part}" for part in PARTS.split(row["strength"]) if part)
        difference = f"{points(row['difference'])} {points_interval(row['low'], row['high'])}"
        shown.add_row(
            f"{row['arm']}{strength}", f"{percent(row['arm_mean'])} %", difference, row["verdict"]
        )
    show(shown)
    say(
        f"Differences in points, with their {INTERVAL}. Verdicts are corrected for the number of arms, intervals are not."
    )
    say(f"The whole report: {REPORTS / protocol / 'report.md'}")
