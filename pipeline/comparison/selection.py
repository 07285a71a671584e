"""Chooses each arm's strength from its exploration runs, on validation only.

Separate from the contrasts: what is chosen here is never a result, because the best of several strengths
looks better than it is. Results come from fresh seeds.
"""

from typing import Any

import pandas as pd

from pipeline.comparison.intervals import interval
from pipeline.config.plan import BASELINE

STATES = ("done", "diverged", "failed", "missing")
DIGITS = 12  # more would let the order of a sum break a tie
COLUMNS = (
    *("study", "arm", "strength", "n"),
    *(
        "validation_accuracy",
        "validation_accuracy_low",
        "validation_accuracy_high",
        "validation_nll",
    ),
    *("chosen", *STATES),
)


def tried(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per (study, arm, strength) in the order of `runs`, the chosen strength of each arm marked.

    `runs` has one row per run: study, arm, strength, state, validation_accuracy, validation_nll (the last
    two under the arm's test rule, NaN for a run that is not done). An arm of which no strength has all its runs done
    has none marked.
    """
    groups = runs.groupby(["study", "arm", "strength"], sort=False)
    table = pd.DataFrame([_summary(group) for _, group in groups], columns=list(COLUMNS))
    best = [
        _best(arm)
        for (_, name), arm in table.groupby(["study", "arm"], sort=False)
        if name != BASELINE
    ]
    table["chosen"] = table.index.isin([row for row in best if row is not None])
    return table


def choice(table: pd.DataFrame) -> dict[str, dict[str, str | None]]:
    """Study -> arm -> label of the strength that `tried` marked, None where there is none to choose."""
    picked: dict[str, dict[str, str | None]] = {}
    for (study, arm), rows in table[table["arm"] != BASELINE].groupby(["study", "arm"], sort=False):
        marked = rows.loc[rows["chosen"], "strength"]
        picked.setdefault(str(study), {})[str(arm)] = None if marked.empty else str(marked.iloc[0])
    return picked


def _summary(group: pd.DataFrame) -> dict[str, Any]:
    done = group[group["state"] == "done"]
    accuracy = interval(done["validation_accuracy"].to_numpy(float))
    return {
        **group[["study", "arm", "strength"]].iloc[0],
        "n": accuracy.n,
        "validation_accuracy": round(accuracy.mean, DIGITS),
        "validation_accuracy_low": accuracy.low,
        "validation_accuracy_high": accuracy.high,
        "validation_nll": round(float(done["validation_nll"].mean()), DIGITS),
        **{state: int((group["state"] == state).sum()) for state in STATES},
    }


def _best(arm: pd.DataFrame) -> int | None:
    """The row of the best strength; None where every strength has lost a run."""
    whole = arm[(arm["done"] == arm[list(STATES)].sum(axis=1)) & arm["validation_accuracy"].notna()]
    if whole.empty:
        return None
    order = whole.sort_values(
        ["validation_accuracy", "validation_nll"], ascending=[False, True], kind="stable"
    )
    return int(order.index[0])
