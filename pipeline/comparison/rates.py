"""Measure how wide the range of learning rates is that works, for every arm that searches its own.

A rate works where the validation accuracy is within `WITHIN` of the arm's best. Between two trials
the accuracy is interpolated on the logarithm of the rate. All of it is exploration: it describes a
few seeds, and has no interval and no verdict.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from math import exp, inf, isnan, log, nan
from typing import Any

import pandas as pd

from pipeline.config.plan import BASELINE, PROTOCOL, TUNING, Plan, PlannedArm

RATE = "training.learning_rate"
WITHIN = 0.01  # validation accuracy, a fraction
TRIED = (
    "study",
    "arm",
    "learning_rate",
    "validation_accuracy",
    "fitted",
    "n",
    "diverged",
    "chosen",
)
RANGES = (
    *("study", "arm", "trials", "seeds", "basis", "chosen", "best", "low", "high", "factor"),
    *("low_open", "high_open"),
)
SCORE = "validation_accuracy"

Row = Mapping[str, Any]
Place = tuple[str, str]  # study, arm


def rates_tried(plan: Plan, tried: Iterable[Row]) -> pd.DataFrame:
    """Return one row for every trial of an arm that searches its learning rate.

    Args:
        plan: The exploration plan.
        tried: The settings tried, as the choice has them.

    Returns:
        A table with the columns `TRIED`, in ascending order of rates in each arm; accuracies are
        fractions, `fitted` is on the response curve, NaN without one. Studies in which no arm but
        the baseline searches its rate are left out; the others have the trials of the tuned
        baseline too.
    """
    rows = list(tried)
    found: list[dict[str, Any]] = []
    for study, arm, source in _searched(plan):
        mine = [row for row in rows if (row["study"], row["arm"]) == source]
        trials = [_trial(study, arm.name, row) for row in mine]
        found += sorted(trials, key=lambda trial: float(trial["learning_rate"]))
    table = pd.DataFrame(found, columns=list(TRIED))
    return table.astype({SCORE: float, "fitted": float})


def rate_ranges(plan: Plan, tried: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (study, arm): the range of learning rates that works.

    Args:
        plan: The exploration plan.
        tried: What `rates_tried` returns.

    Returns:
        A table with the columns `RANGES`: the numbers of trials and of seeds; `basis`, whether the
        accuracies are those on the response curve or the means over seeds, or why there is no
        range; the chosen rate; the best accuracy (a fraction); the ends of the range, their
        ratio `factor`, and whether an end is only where the trials end, so that the range may go
        on. Where several values are searched at once, no range is that of the rate alone.
    """
    seeds = len({run.seed for run in plan.runs})
    arms = {(study, arm.name): (arm, source) for study, arm, source in _searched(plan)}
    rows = []
    for (study, name), trials in tried.groupby(["study", "arm"], sort=False):
        arm, _ = arms[str(study), str(name)]
        chosen = trials.loc[trials["chosen"], "learning_rate"]
        row = {
            "study": study,
            "arm": name,
            "trials": len(trials),
            "seeds": seeds,
            "chosen": nan if chosen.empty else float(chosen.iloc[0]),
        }
        rows.append({**row, **_range(trials, len(arm.space))})
    return pd.DataFrame(rows, columns=list(RANGES))


def _searched(plan: Plan) -> Iterator[tuple[str, PlannedArm, Place]]:
    """Yield study, arm, and the study and arm that its trials are listed under."""
    tuned = [
        arm
        for study in plan.studies_of("tuning")
        for arm in study.arms
        if arm.name == BASELINE and _searches_rate(arm)
    ]
    for study in plan.studies_of("comparison"):
        own = [arm for arm in study.arms if arm.name != BASELINE and _searches_rate(arm)]
        if own:
            yield from ((study.name, arm, (TUNING, BASELINE)) for arm in tuned)
            yield from ((study.name, arm, (study.name, arm.name)) for arm in own)


def _searches_rate(arm: PlannedArm) -> bool:
    return any((item.part, item.key) == (PROTOCOL, RATE) for item in arm.space)


def _trial(study: str, arm: str, row: Row) -> dict[str, Any]:
    rate = float(row["setting"][PROTOCOL][RATE])
    kept = {key: row[key] for key in TRIED[3:]}
    return {"study": study, "arm": arm, "learning_rate": rate, **kept}


def _range(trials: pd.DataFrame, dimensions: int) -> dict[str, Any]:
    """Return the range of one arm, its trials in ascending order of rates."""
    empty = dict.fromkeys(("best", "low", "high", "factor"), nan)
    none = {**empty, "low_open": False, "high_open": False}
    if dimensions != 1:
        return {"basis": "several values searched", **none}
    known = trials[trials[SCORE].notna() | (trials["diverged"] > 0)]
    scores = known["fitted"].where(known["fitted"].notna(), known[SCORE])
    scores = scores.mask(known["diverged"] > 0, -inf)
    if scores.empty or scores.max() == -inf:
        return {"basis": "no trial done", **none}
    places = [log(rate) for rate in known["learning_rate"]]
    values = scores.tolist()
    best = max(values)
    peak = values.index(best)
    low, low_open = _end(places[peak::-1], values[peak::-1], best - WITHIN)
    high, high_open = _end(places[peak:], values[peak:], best - WITHIN)
    return {
        "basis": "curve" if known["fitted"].notna().any() else "mean",
        "best": best,
        "low": exp(low),
        "high": exp(high),
        "factor": exp(high - low),
        "low_open": low_open,
        "high_open": high_open,
    }


def _end(places: list[float], scores: list[float], limit: float) -> tuple[float, bool]:
    """Return where scores first fall below a limit, and whether they never do.

    Args:
        places: Logarithms of rates, from the best one outwards.
        scores: The accuracies there; -inf of a rate at which a run diverged.
        limit: An accuracy below the first one.
    """
    for (near, inside), (far, outside) in pairwise(zip(places, scores, strict=True)):
        if outside < limit:
            share = (inside - limit) / (inside - outside)
            return near + share * (far - near), False
    return places[-1], True


def is_wider(one: Row, other: Row) -> bool | None:
    """Return whether one range is wider than another; None where open ends leave it undecided."""
    factors = one["factor"], other["factor"]
    if any(isnan(factor) for factor in factors) or factors[0] == factors[1]:
        return None
    wide, narrow = (one, other) if factors[0] > factors[1] else (other, one)
    if narrow["low_open"] or narrow["high_open"]:
        return None
    return wide is one
