"""Choose each arm's setting from its exploration runs, on validation only.

The scores of a choice are never a result, because the best of several settings looks better than it
is: results come from fresh seeds.
"""

import json
from typing import Any

import pandas as pd

from pipeline.comparison.intervals import interval
from pipeline.config.plan import BASELINE, Setting
from pipeline.records.runs import STATES

DIGITS = 12  # more would let the order of a sum break a tie
COLUMNS = (
    *("study", "arm", "setting", "n"),
    *("validation_accuracy", "validation_accuracy_low", "validation_accuracy_high"),
    *("validation_nll", "chosen", *STATES),
)


def tried(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (study, arm, setting) in the order of `runs`, each arm's choice marked.

    Args:
        runs: One row per run with study, arm, setting (a mapping), state, validation_accuracy and
            validation_nll, the last two under the arm's test rule, NaN for a run that is not done.

    Returns:
        A table with `COLUMNS`. An arm of which no setting has all its runs done has none marked.
    """
    keys = runs["setting"].map(json.dumps)
    groups = runs.groupby(["study", "arm", keys], sort=False)
    table = pd.DataFrame([_summary(group) for _, group in groups], columns=list(COLUMNS))
    arms = table.groupby(["study", "arm"], sort=False)
    best = [_best(arm) for (_, name), arm in arms if name != BASELINE]
    table["chosen"] = table.index.isin([row for row in best if row is not None])
    return table


def choice(table: pd.DataFrame) -> dict[str, dict[str, Setting | None]]:
    """Return study -> arm -> the setting that `tried` marked, None if none is."""
    picked: dict[str, dict[str, Setting | None]] = {}
    arms = table[table["arm"] != BASELINE].groupby(["study", "arm"], sort=False)
    for (study, arm), rows in arms:
        marked = rows.loc[rows["chosen"], "setting"]
        picked.setdefault(str(study), {})[str(arm)] = None if marked.empty else marked.iloc[0]
    return picked


def _summary(group: pd.DataFrame) -> dict[str, Any]:
    done = group[group["state"] == "done"]
    accuracy = interval(done["validation_accuracy"].to_numpy(float))
    return {
        **group[["study", "arm", "setting"]].iloc[0],
        "n": accuracy.n,
        "validation_accuracy": round(accuracy.mean, DIGITS),
        "validation_accuracy_low": accuracy.low,
        "validation_accuracy_high": accuracy.high,
        "validation_nll": round(float(done["validation_nll"].mean()), DIGITS),
        **{state: int((group["state"] == state).sum()) for state in STATES},
    }


def _best(arm: pd.DataFrame) -> int | None:
    """Return the row of the best setting; None where every setting lacks a run."""
    complete = arm["done"] == arm[list(STATES)].sum(axis=1)
    whole = arm[complete & arm["validation_accuracy"].notna()]
    if whole.empty:
        return None
    by = ["validation_accuracy", "validation_nll"]
    return int(whole.sort_values(by, ascending=[False, True], kind="stable").index[0])
