"""Diagnose bias or variance: which error of the baseline is the problem, and which arms fit better.

The recipe of Ng, Machine Learning Yearning, 2018: compare the training error with the best possible
one, and the validation error with the training error.
"""

from typing import Literal

import numpy as np
import pandas as pd

from pipeline.comparison.intervals import Array, interval
from pipeline.comparison.matching import compared
from pipeline.comparison.significance import holm
from pipeline.comparison.weights import last_weight, look_statistics, mean_over_seeds
from pipeline.config.plan import BASELINE, Plan

Problem = Literal["variance", "bias", "both", "neither"]
COLUMNS = (
    *("study", "arm", "measure", "n", "mean", "low", "high", "excludes_zero", "p_holm", "problem"),
)
TWICE = 2  # one part outweighs the other where it is at least this many times as large


def problem(bias: float, gap: float, margin: float) -> Problem:
    """Return the part of the validation error that is the problem; empty if both are in the margin.

    A part is the only problem if it is at least twice the other.

    Args:
        bias: The avoidable bias, a fraction.
        gap: The gap, a fraction.
        margin: The largest difference that counts as none, a fraction.
    """
    if max(bias, gap) <= margin:
        return "neither"
    if gap >= TWICE * bias:
        return "variance"
    return "bias" if bias >= TWICE * gap else "both"


def diagnosis(plan: Plan, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return the problem of the baseline, and the change in training accuracy by every other arm.

    The baseline has the measures training_error, avoidable_bias (over `optimal_error`) and gap,
    with the problem; every other arm has train_accuracy, its difference from the baseline paired by
    seed, with its p after Holm's correction over the arms; under looks both are corrected by the
    weight of the last look of the arm.

    Args:
        plan: The confirmation plan.
        outcomes: The table `outcomes`.

    Returns:
        A table with `COLUMNS`; means and bounds are fractions.
    """
    baseline = outcomes[(outcomes["study"] == plan.studies[0].name) & (outcomes["arm"] == BASELINE)]
    error = (1 - baseline["train_accuracy"]).to_numpy(float)
    measures = {
        "training_error": error,
        "avoidable_bias": error - plan.optimal_error,
        "gap": baseline["gap"].to_numpy(float),
    }
    rows = [
        {"study": plan.studies[0].name, "arm": BASELINE, **_row(name, values)}
        for name, values in measures.items()
    ]
    named = ""
    if len(baseline):
        bias = float(error.mean()) - plan.optimal_error
        named = problem(bias, float(measures["gap"].mean()), plan.margin)
    table = pd.DataFrame([row | {"problem": named} for row in rows], columns=list(COLUMNS))
    return pd.concat([table, _train_changes(plan, outcomes, baseline)], ignore_index=True)


def _train_changes(plan: Plan, outcomes: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    start = baseline.set_index("seed")["train_accuracy"]
    arms = outcomes[outcomes["arm"] != BASELINE].groupby(["study", "arm"], sort=False)
    weights = {arm.key: last_weight([arm], plan.looks) for arm in compared(plan)}
    rows, p_values = [], []
    for (study, arm), runs in arms:
        change = (runs.set_index("seed")["train_accuracy"] - start).dropna().to_numpy(float)
        statistics = look_statistics([mean_over_seeds(change)], [weights[study, arm]])
        p_values.append(statistics.pop("p"))
        row = _row("train_accuracy", change) | statistics
        rows.append({"study": study, "arm": arm, **row, "problem": ""})
    adjusted = holm(np.array(p_values)) if rows else None
    return pd.DataFrame(rows, columns=list(COLUMNS)).assign(p_holm=adjusted)


def _row(measure: str, values: Array) -> dict[str, float | str]:
    estimate = interval(values)
    return {
        "measure": measure,
        "n": estimate.n,
        "mean": estimate.mean,
        "low": estimate.low,
        "high": estimate.high,
        "excludes_zero": estimate.excludes_zero,
    }
