"""Write the contrasts of one study: the primary metric with verdicts, then all others without."""

from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.comparison.levels import PRIMARY
from pipeline.comparison.verdicts import Verdict
from pipeline.config.labels import format_rule
from pipeline.config.plan import PlannedStudy
from pipeline.config.test_rules import TestRule
from pipeline.evaluation.metrics import GAPS
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.labels import verdict_cell
from pipeline.reporting.pages._page import PAIRS
from pipeline.reporting.units import METRICS

OTHERS = ("validation_accuracy", "test_nll", "test_calibration_error", *GAPS)
EXPLAINED = ("detectable", "seeds needed")  # columns that other pages explain
DIFFERENCE = f"difference [{md.INTERVAL}]"
CONSTANT = ("baseline (%)", "n", "rule")  # columns that are often the same in all rows


def confirmed(data: ReportData, study: PlannedStudy) -> str:
    """Return both tables."""
    rows = rows_of(of(data.contrasts, study.name))
    primary = [row for row in rows if row["metric"] == PRIMARY]
    others = [row for row in rows if row["metric"] in OTHERS]
    return md.join_parts(
        _primary_table(data, primary), f"### Other metrics\n\n{_other_table(data, others)}"
    )


def _primary_table(data: ReportData, rows: Sequence[md.Row]) -> str:
    cells = [
        {
            "arm": row["arm"],
            **data.trials_cell(row["study"], row["arm"]),
            "baseline (%)": data.format.percent(row["baseline_mean"]),
            "arm (%)": data.format.percent(row["arm_mean"]),
            DIFFERENCE: md.unbroken(data.format.change(row, unit="")),
            "verdict": verdict_cell(row),
            "n": str(row["n"]),
            "p": md.format_p(row["p"]),
            "p (sign flips)": md.format_p(row["p_sign_flip"]),
            "p (Holm)": md.format_p(row["p_holm"]),
            "detectable": data.format.detectable(row),
            "seeds needed": _needed(row),
            "correlation": md.format_number(row["correlation"], 2),
            "rule": format_rule(TestRule(view=row["view"], members=row["members"])),
        }
        for row in rows
    ]
    shown, same = md.without_constant(md.without_void(cells), CONSTANT)
    caption = (
        f"Test accuracy, differences in points. {same} n: {PAIRS}. Rule: the test rule of the arm. "
        f"{_explained(shown[0])} p (Holm): corrected over all contrasts of the report. "
        "Correlation: of the test accuracies of arm and baseline over seeds."
    )
    return md.format_table(shown, " ".join(caption.split()), words=("arm", "verdict", "rule"))


def _explained(cells: Mapping[str, str]) -> str:
    """Return a reference to the explanation of columns that need one."""
    names = ["interval", "p", *(name for name in EXPLAINED if name in cells)]
    return f"See [statistics](method.md#statistics) for {md.format_list(names)}."


def _other_table(data: ReportData, rows: Sequence[md.Row]) -> str:
    """Return a row per arm with its differences in all other metrics."""
    changed = {(row["arm"], row["metric"]): row for row in rows if not _is_unchanged(row)}
    if not changed:
        return "Every other metric is exactly the baseline's."
    changed_metrics = {metric for _, metric in changed}
    metrics = [name for name in OTHERS if name in changed_metrics]
    cells = []
    for arm in dict.fromkeys(arm for arm, _ in changed):
        cell = {"arm": arm}
        for name in metrics:
            row = changed.get((arm, name))
            change = data.format.change(row, name, unit="") if row is not None else md.VOID
            cell[METRICS[name].difference_label] = md.unbroken(change)
        cells.append(cell)
    caption = (
        "Differences, arm minus reference. n: as above. Interval: as above, no verdict. Rule: the "
        f"test rule of the arm; gaps are always measured without noise. {md.VOID}: equal to the "
        "baseline at every seed. Scores, p and further metrics: [contrasts.csv](../contrasts.csv)."
    )
    return md.format_table(cells, caption, words=("arm",))


def _needed(row: md.Row) -> str:
    """Return the number of seeds that would detect the difference of an inconclusive arm."""
    is_open = row["verdict"] == Verdict.INCONCLUSIVE and not row["withheld"]
    return md.format_seeds_needed(row) if is_open else md.VOID


def _is_unchanged(row: md.Row) -> bool:
    """Return whether no pair of runs differs in a metric."""
    return bool(row["difference"] == 0 and pd.isna(row["low"]))
