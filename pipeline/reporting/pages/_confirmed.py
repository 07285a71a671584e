"""Write the contrasts of one study: the primary metric with verdicts, then all others without."""

import math

import pandas as pd

from pipeline.comparison.levels import POWER, PRIMARY
from pipeline.comparison.verdicts import Verdict
from pipeline.config.labels import format_rule
from pipeline.config.plan import PlannedStudy
from pipeline.config.test_rules import TestRule
from pipeline.evaluation.metrics import GAPS
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.labels import verdict_label
from pipeline.reporting.pages._page import CONTRAST_INTERVAL, PAIRS
from pipeline.reporting.units import METRICS

OTHERS = ("validation_accuracy", "test_nll", "test_calibration_error", *GAPS)
TESTS = "two-sided paired t test, and the exact sign-flip test of the differences"


def confirmed(data: ReportData, study: PlannedStudy) -> str:
    """Return both tables, and the precision of what is inconclusive."""
    rows = of(data.contrasts, study.name).to_dict("records")
    primary = [row for row in rows if row["metric"] == PRIMARY]
    others = [row for row in rows if row["metric"] in OTHERS and not _is_unchanged(row)]
    return md.join_parts(
        _primary_table(data, primary),
        _inconclusive(data, primary),
        f"### Other metrics\n\n{_other_table(data, others)}",
    )


def _primary_table(data: ReportData, rows: list[md.Row]) -> str:
    cells = [
        {
            "arm": row["arm"],
            **data.trials_cell(row["study"], row["arm"]),
            "baseline (%)": data.format.percent(row["baseline_mean"]),
            "arm (%)": data.format.percent(row["arm_mean"]),
            **_tests(data, row),
            "p (Holm)": md.format_p(row["p_holm"]),
            "verdict": verdict_label(row),
            "detectable": data.format.detectable(row["detectable"]),
            "correlation": md.format_number(row["correlation"], 2),
            "rule": format_rule(TestRule(view=row["view"], members=row["members"])),
        }
        for row in rows
    ]
    caption = (
        f"Test accuracy, differences in points. n: {PAIRS}. Rule: as in the last column. "
        f"Interval: {CONTRAST_INTERVAL}. p: {TESTS}. p (Holm): the first, corrected over all arms "
        f"of the front page. Detectable: with {100 * POWER:g} % power after the correction. "
        "Correlation: between arm and baseline over seeds."
    )
    return md.format_table(cells, caption, words=("arm", "verdict", "rule"))


def _other_table(data: ReportData, rows: list[md.Row]) -> str:
    if not rows:
        return "Every other metric is exactly the baseline's."
    cells = [
        {
            "arm": row["arm"],
            **data.trials_cell(row["study"], row["arm"]),
            "metric": METRICS[row["metric"]].label,
            "baseline": data.format.score(row["metric"], row["baseline_mean"]),
            "arm mean": data.format.score(row["metric"], row["arm_mean"]),
            **_tests(data, row),
        }
        for row in rows
    ]
    caption = (
        "Differences of percentages are in points. Metrics that equal the baseline's are omitted; "
        f"the Brier score and validation metrics are in `contrasts.csv`. n: {PAIRS}. Rule: the "
        f"arm's; gaps are always deterministic. Interval: {CONTRAST_INTERVAL}. p: {TESTS}, not "
        "corrected: no verdict."
    )
    return md.format_table(cells, caption, words=("arm", "metric"))


def _tests(data: ReportData, row: md.Row) -> dict[str, str]:
    """Return difference, interval and p."""
    metric = row["metric"]
    return {
        "difference": data.format.difference(metric, row["difference"]),
        md.INTERVAL: data.format.bounds(metric, row["low"], row["high"]) or md.VOID,
        "n": str(row["n"]),
        "p": md.format_p(row["p"]),
        "p (sign flips)": md.format_p(row["p_sign_flip"]),
    }


def _inconclusive(data: ReportData, rows: list[md.Row]) -> str:
    """Return for every inconclusive arm what its pairs could find, and how many more are needed."""
    lines = [
        f"**{row['arm']}** is inconclusive: {md.format_count(row['n'], 'seed')} detect a "
        f"difference of {data.format.detectable(row['detectable'])} points with {100 * POWER:g} % "
        "power. If the true difference equals the observed one, detecting it needs "
        f"{_needed(row['seeds_needed'])} seeds."
        for row in rows
        if row["verdict"] == Verdict.INCONCLUSIVE and not pd.isna(row["detectable"])
    ]
    return md.format_bullets(lines)


def _needed(seeds: float) -> str:
    return "more than 10,000" if math.isinf(seeds) else f"{seeds:,.0f}"


def _is_unchanged(row: md.Row) -> bool:
    """Return whether no pair differs: such a metric needs no row."""
    return bool(row["difference"] == 0 and pd.isna(row["low"]))
