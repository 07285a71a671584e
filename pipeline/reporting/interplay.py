"""Interactions: what two things do together against the sum of what each does alone.

Separate from the contrasts, which compare with the baseline: here four arms stand in one number.
"""

from typing import Any

import pandas as pd

from pipeline.reporting.frames import Evidence
from pipeline.reporting.gains import PRECISION
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

FEWEST = 2  # seeds that have an interval
LESS_HELP = "Together they give less than their sum: in part each makes the other redundant."
MORE_HELP = "Together they give more than their sum: they reinforce each other."
MORE_HARM = "Together they do more harm than their sum: each makes the other worse."
LESS_HARM = "Together they do less harm than their sum: in part it is the same harm."
NAMES = {
    "test_accuracy": "test accuracy (points)",
    "test_nll": "test NLL (nats)",
    "gap": "gap (points)",
}


def interaction_lines(evidence: Evidence) -> str:
    """A sentence for every pair of parts that was also tried alone; empty where there is none."""
    rows = evidence.interactions[evidence.interactions["metric"] == "test_accuracy"]
    return "\n".join(
        f"- {_sentence(row, decimals(evidence.primary()))}" for row in rows.to_dict("records")
    )


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
    if row["n"] < FEWEST:
        return f"{pair}: too few seeds have it, {both} and the baseline, so no interaction can be told."
    known = f"{points(row['difference'], digits)} points {points_interval(row['low'], row['high'], digits)}".strip()
    effects = f"{points(row['effect'], digits)} points, against {points(row['sum'], digits)} for the sum of {both}"
    return f"{pair}: {effects}; interaction {known}. {_meaning(row, digits)}"


def _meaning(row: dict[str, Any], digits: int) -> str:
    """What an interaction comes to: the same sign means one thing among arms that help, another among those that hurt."""
    if pd.isna(row["low"]):
        return "It does not vary over the seeds, so it has no interval."
    if row["low"] <= 0 <= row["high"]:
        return f"None was shown; these seeds would find one of {percent(row['detectable'], digits)} points four times in five."
    less = row["high"] < 0
    if row["effect"] > 0 and row["sum"] > 0:
        return LESS_HELP if less else MORE_HELP
    if row["effect"] < 0 and row["sum"] < 0:
        return MORE_HARM if less else LESS_HARM
    return (
        "Together they come out lower than their sum."
        if less
        else "Together they come out higher than their sum."
    )


def _cells(row: dict[str, Any], digits: int) -> dict[str, str]:
    nats = row["metric"] == "test_nll"
    effect, total, difference = (
        signed(row[name], PRECISION) if nats else points(row[name], digits)
        for name in ("effect", "sum", "difference")
    )
    bounds = (
        signed_interval(row["low"], row["high"], PRECISION)
        if nats
        else points_interval(row["low"], row["high"], digits)
    )
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
