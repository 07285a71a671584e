"""Interactions: what two things do together against the sum of what each does alone.

Separate from the contrasts, which compare with the baseline: here four arms stand in one number.
"""

from typing import Any

import pandas as pd

from pipeline.comparison.intervals import POWER
from pipeline.reporting.frames import Evidence
from pipeline.reporting.tables import (
    CONFIDENCE,
    INTERVAL,
    VOID,
    decimals,
    p_value,
    percent,
    points,
    points_interval,
    signed,
    signed_interval,
    table,
)

PRECISION = 3
NAMES = {"test_accuracy": "test accuracy (points)", "test_nll": "test NLL (nats)", "gap": "gap (points)"}


def interaction_lines(evidence: Evidence) -> str:
    """A sentence for every pair of parts that was also tried alone; empty where there is none."""
    rows = evidence.interactions[evidence.interactions["metric"] == "test_accuracy"]
    return "\n".join(f"- {_sentence(row, decimals(evidence.primary()))}" for row in rows.to_dict("records"))


def interaction_table(evidence: Evidence, study: str) -> str:
    """The interactions of one study, metric by metric; empty where there is none."""
    rows = evidence.interactions[evidence.interactions["study"] == study].to_dict("records")
    if not rows:
        return ""
    caption = (
        "n: seeds at which all four are done on the same kind of machine. Rule: the test rule of each arm; the gap always "
        f"deterministic. Interval: {CONFIDENCE} Student-t interval of the mean over seeds of pair minus baseline, less what "
        "each part does alone. p: two-sided paired t test, and the exact one of flipping signs; not corrected, no verdict."
    )
    return table(pd.DataFrame([_cells(row, decimals(evidence.primary())) for row in rows]), caption)


def _sentence(row: dict[str, Any], digits: int) -> str:
    pair, both = f"**{row['arm']}**", f"**{row['first']}** and **{row['second']}**"
    if pd.isna(row["low"]):
        return f"{pair}: too few seeds have it, {both} and the baseline, so no interaction can be told."
    known = f"{points(row['difference'], digits)} points {points_interval(row['low'], row['high'], digits)}"
    effects = f"{points(row['effect'], digits)} points, against {points(row['sum'], digits)} for the sum of {both}"
    return f"{pair}: {effects}; interaction {known}. {_meaning(row, digits)}"


def _meaning(row: dict[str, Any], digits: int) -> str:
    if row["high"] < 0:
        return "Together they give less than their sum: in part each makes the other redundant."
    if row["low"] > 0:
        return "Together they give more than their sum: they reinforce each other."
    return f"None was shown; {100 * POWER:g} % power is for {percent(row['detectable'], digits)} points or more."


def _cells(row: dict[str, Any], digits: int) -> dict[str, str]:
    nats = row["metric"] == "test_nll"
    effect, total, difference = (
        signed(row[name], PRECISION) if nats else points(row[name], digits) for name in ("effect", "sum", "difference")
    )
    bounds = signed_interval(row["low"], row["high"], PRECISION) if nats else points_interval(row["low"], row["high"], digits)
    return {
        "pair": row["arm"],
        "parts": f"{row['first']}, {row['second']}",
        "metric": NAMES[row["metric"]],
        "together": effect,
        "sum of parts": total,
        "interaction": difference,
        INTERVAL: bounds or VOID,
        "n": str(row["n"]),
        "p": p_value(row["p"]),
        "p (sign flips)": p_value(row["p_sign_flip"]),
    }
