"""Write `reports/README.md`: the baseline of every protocol, and every arm in each of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

import pandas as pd

from pipeline.reporting.evidence import decimals
from pipeline.reporting.markdown import (
    INTERVAL,
    VOID,
    Formatter,
    format_number,
    format_table,
    join_parts,
)

BASELINES = (
    "The baseline of every protocol: means over its confirmation runs. Runs: done of planned."
)
DIFFERENCES = (
    "Difference in test accuracy in points, arm minus the arm it is compared with, paired by seed, "
    f"with its {INTERVAL}. The intervals are not corrected for the number of arms; the verdicts in "
    f"the reports are. An arm may have another setting in another protocol. {VOID}: not tried."
)


@dataclass(frozen=True)
class Summary:
    """The content of one report that the index shows: `metrics.json` and `plots/contrasts.csv`."""

    metrics: Mapping[str, Any]
    contrasts: pd.DataFrame


def index_page(reports: Mapping[str, Summary]) -> str:
    """Return the page over all reports, given by the names of their protocols."""
    baselines = [_baseline_cells(name, summary.metrics) for name, summary in reports.items()]
    differences = difference_rows(reports)
    parts = [
        "# Reports",
        format_table(baselines, BASELINES, words=("report",)),
        format_table(differences, DIFFERENCES, words=("arm",)) if differences else "",
    ]
    return join_parts(*parts) + "\n"


def difference_rows(reports: Mapping[str, Summary]) -> list[dict[str, str]]:
    """Return a row per arm, in order of their names, with a cell per protocol."""
    cells = {name: _difference_cells(summary.contrasts) for name, summary in reports.items()}
    arms = sorted({arm for arm_cells in cells.values() for arm in arm_cells})
    return [
        {"arm": arm, **{name: arm_cells.get(arm, VOID) for name, arm_cells in cells.items()}}
        for arm in arms
    ]


def _baseline_cells(name: str, metrics: Mapping[str, Any]) -> dict[str, str]:
    baseline, runs = metrics["baseline"], metrics["runs"]
    return {
        "report": f"[{name}]({name}/report.md)",
        "test accuracy (%)": _percent(baseline["accuracy"]),
        "gap (points)": _percent(baseline["gap"]),
        "runs": f"{runs['done']} of {runs['planned']}",
    }


def _difference_cells(contrasts: pd.DataFrame) -> dict[str, str]:
    """Return the difference of every arm of a report with its interval."""
    formatter = Formatter(decimals(contrasts))
    rows = contrasts.to_dict("records")
    return {row["arm"]: formatter.change(row, unit="") for row in rows}


def _percent(value: float | None) -> str:
    return format_number(nan if value is None else value, 1)
