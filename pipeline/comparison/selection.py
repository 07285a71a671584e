"""Chooses each arm's strength from its exploration runs, on validation only.

Separate from the contrasts: what is chosen here is never a result, because the best of several strengths
looks better than it is. Results come from fresh seeds.
"""

from typing import Any

import pandas as pd

from pipeline.comparison.intervals import interval
from pipeline.config.errors import Refusal
from pipeline.config.studies import BASELINE

STATES = ("done", "diverged", "failed", "missing")
DIGITS = 12  # more would let the order of a sum break a tie
COLUMNS = (
    *("study", "arm", "strength", "n"),
    *("validation_accuracy", "validation_accuracy_low", "validation_accuracy_high", "validation_nll"),
    *("chosen", *STATES),
)


def tried(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per (study, arm, strength) in the order of `runs`, the chosen strength of each arm marked.

    `runs` has one row per run: study, arm, strength, state, validation_accuracy, validation_nll (the last
    two under the arm's test rule, NaN for a run that is not done). Raises Refusal, naming every arm
    of which no strength has all its runs done.
    """
    groups = runs.groupby(["study", "arm", "strength"], sort=False)
    table = pd.DataFrame([_summary(group) for _, group in groups], columns=list(COLUMNS))
    best = [_best(arm) for (_, name), arm in table.groupby(["study", "arm"], sort=False) if name != BASELINE]
    if refused := [arm for arm in best if isinstance(arm, str)]:
        raise Refusal(*refused)
    table["chosen"] = table.index.isin(best)
    return table


def choice(table: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Study -> arm -> label of the strength that `tried` marked."""
    picked: dict[str, dict[str, str]] = {}
    for row in table[table["chosen"]].itertuples():
        picked.setdefault(str(row.study), {})[str(row.arm)] = str(row.strength)
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


def _best(arm: pd.DataFrame) -> int | str:
    """The row of the best strength, or the line that says why there is none."""
    whole = arm[(arm["done"] == arm[list(STATES)].sum(axis=1)) & arm["validation_accuracy"].notna()]
    if whole.empty:
        counts = ", ".join(f"{int(arm[state].sum())} {state}" for state in STATES)
        name = f"study {arm['study'].iloc[0]}: arm {arm['arm'].iloc[0]}"
        return f"{name}: no strength can be chosen (runs: {counts}); needed is one whose runs are all done"
    order = whole.sort_values(["validation_accuracy", "validation_nll"], ascending=[False, True], kind="stable")
    return int(order.index[0])
