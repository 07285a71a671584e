"""The contrasts of one study: the primary metric with its verdicts, then every other metric, which has none.

Separate from the page around them: the two tables must not be mistaken for each other.
"""

import math
from typing import Any

import pandas as pd

from pipeline.comparison.intervals import POWER
from pipeline.comparison.matching import PRIMARY
from pipeline.config.plan import PlannedStudy
from pipeline.reporting.frames import Evidence
from pipeline.reporting.gains import PRECISION
from pipeline.reporting.overview import CONTRAST_INTERVAL, PAIRS
from pipeline.reporting.tables import (
    INTERVAL,
    VOID,
    counted,
    decimal,
    decimals,
    findable,
    p_value,
    percent,
    points,
    points_interval,
    signed,
    signed_interval,
    table,
)

IN_PERCENT = (
    "accuracy",
    "calibration_error",
    "gap",
)  # metrics that are fractions of images; the others are in nats or scores
TESTS = (
    "two-sided paired t test, and beside it the exact one that flips the signs of the differences"
)


def confirmed(evidence: Evidence, study: PlannedStudy) -> str:
    """Both tables, and what it would take to settle what stays inconclusive."""
    rows = evidence.contrasts[evidence.contrasts["study"] == study.name].to_dict("records")
    primary = [row for row in rows if row["metric"] == PRIMARY]
    digits = decimals(evidence.primary())
    others = [row for row in rows if row["metric"] != PRIMARY and not _unchanged(row)]
    parts = [
        _primary_table(primary, digits),
        _open(primary, digits),
        f"### Other metrics\n\n{_other_table(others, digits)}",
    ]
    return "\n\n".join(part for part in parts if part)


def _primary_table(rows: list[dict[str, Any]], digits: int) -> str:
    cells = [
        {
            "arm": row["arm"],
            "baseline (%)": percent(row["baseline_mean"], digits),
            "arm (%)": percent(row["arm_mean"], digits),
            **_difference(row, digits),
            **_tests(row),
            "p (Holm)": p_value(row["p_holm"]),
            "verdict": row["verdict"],
            "detectable": findable(row["detectable"], digits),
            "correlation": decimal(row["correlation"], 2),
            "rule": row["rule"],
        }
        for row in rows
    ]
    caption = (
        f"Test accuracy, differences in points. n: {PAIRS}. Rule: the arm's. Interval: {CONTRAST_INTERVAL}. p: {TESTS}; Holm's "
        f"correction of the first over all arms of the report. Detectable: with {100 * POWER:g} % power after the correction. "
        "Correlation: of arm and baseline over the pairs."
    )
    return table(pd.DataFrame(cells), caption)


def _other_table(rows: list[dict[str, Any]], digits: int) -> str:
    if not rows:
        return "Every other metric is exactly the baseline's."
    caption = (
        "Differences of percentages are in points; costs are multiples of the baseline's, counted. A metric that is not listed "
        f"is exactly the baseline's. n: {PAIRS}. Rule: the arm's, for the gap deterministic. Interval: {CONTRAST_INTERVAL}. "
        f"p: {TESTS}, not corrected: no verdict."
    )
    return table(pd.DataFrame([_other(row, digits) for row in rows]), caption)


def _other(row: dict[str, Any], digits: int) -> dict[str, str]:
    fraction = _is_fraction(row)
    means = [
        percent(row[name], digits) if fraction else decimal(row[name], PRECISION)
        for name in ("baseline_mean", "arm_mean")
    ]
    return {
        "arm": row["arm"],
        "metric": _metric(row["metric"]),
        "baseline": means[0],
        "arm mean": means[1],
        **_difference(row, digits),
        **_tests(row),
    }


def _difference(row: dict[str, Any], digits: int) -> dict[str, str]:
    bounds = row["low"], row["high"]
    if _is_fraction(row):
        shown = points(row["difference"], digits), points_interval(*bounds, digits)
    else:
        shown = signed(row["difference"], PRECISION), signed_interval(*bounds, PRECISION)
    return {"difference": shown[0], INTERVAL: shown[1] or VOID, "n": str(row["n"])}


def _tests(row: dict[str, Any]) -> dict[str, str]:
    """Both p-values; none for a cost that is the same in every pair, which is no matter of chance."""
    counted_alike = row["metric"].endswith("_cost") and pd.isna(row["p"])
    return {
        "p": p_value(row["p"]),
        "p (sign flips)": VOID if counted_alike else p_value(row["p_sign_flip"]),
    }


def _open(rows: list[dict[str, Any]], digits: int) -> str:
    """For every inconclusive arm what so many pairs could have found, and how many the observed difference would take."""
    unsettled = [
        row for row in rows if row["verdict"] == "inconclusive" and not pd.isna(row["detectable"])
    ]
    return "\n".join(
        f"- **{row['arm']}** stays inconclusive: {counted(row['n'], 'pair')} find a difference of "
        f"{findable(row['detectable'], digits)} points with {100 * POWER:g} % power; {_needed(row['seeds_needed'])}."
        for row in unsettled
    )


def _needed(seeds: float) -> str:
    return (
        "the observed one would take more than 10,000"
        if math.isinf(seeds)
        else f"the observed one would take {seeds:,.0f}"
    )


def _unchanged(row: dict[str, Any]) -> bool:
    """Whether no pair differs: such a metric cannot be told from the baseline's, and needs no row."""
    return bool(row["difference"] == 0 and pd.isna(row["low"]))


def _is_fraction(row: dict[str, Any]) -> bool:
    return any(word in row["metric"] for word in IN_PERCENT)


def _metric(name: str) -> str:
    """A metric with its unit."""
    words = name.replace("_", " ").replace("nll", "NLL").replace("brier", "Brier score")
    units = {
        "accuracy": " (%)",
        "error": " (%)",
        "NLL": " (nats)",
        "score": "",
        "cost": " (of the baseline's)",
    }
    return words + units.get(words.rpartition(" ")[2], " (points)")
