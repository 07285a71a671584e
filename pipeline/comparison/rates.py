"""Measure how wide the range of learning rates is that works, for every arm that searches its own.

A rate works where the validation accuracy is within `WITHIN` of the arm's best. Between two trials
the accuracy is interpolated on the logarithm of the rate. All of it is exploration: it describes a
few seeds, and has no interval and no verdict. The spread over single seeds is shown with it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import exp, inf, log, nan
from typing import Any

import pandas as pd

from pipeline.comparison.levels import NARROWER, RATE, UNDECIDED, WIDER, WITHIN
from pipeline.config.plan import BASELINE, PROTOCOL, TUNING, Plan, PlannedArm
from pipeline.planning.choice import Score, ScoredSetting, response

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
    *("low_open", "high_open", "least", "most"),
)
SEEDS = ("study", "arm", "seed", "factor", "is_open")
WIDENED = ("study", "arm", "with", "batch_norm")
SCORE = "validation_accuracy"
BATCH_NORM = "model.batch_norm"

Row = Mapping[str, Any]
Place = tuple[str, str]  # study, arm


def rates_tried(plan: Plan, tried: Iterable[Row]) -> pd.DataFrame:
    """Return one row for every trial with a whole schedule of an arm that searches its rate.

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
    tried_rates: list[dict[str, Any]] = []
    for study, arm, source in _searched(plan):
        mine = [row for row in rows if (row["study"], row["arm"]) == source and row["budget"] == 1]
        trials = [_trial(study, arm.name, row) for row in mine]
        tried_rates += sorted(trials, key=lambda trial: float(trial["learning_rate"]))
    table = pd.DataFrame(tried_rates, columns=list(TRIED))
    return table.astype({SCORE: float, "fitted": float})


def seed_ranges(plan: Plan, score: Callable[[str], Score]) -> pd.DataFrame:
    """Return the range of learning rates that works at every exploration seed.

    Args:
        plan: The exploration plan.
        score: A function that returns the validation score of an exploration run by its
            fingerprint.

    Returns:
        A table with the columns `SEEDS`, a row for each seed of the arms of `rates_tried`: the
        ratio of the ends of the range; NaN if no rate works, and whether an end is only where
        the trials end, so that the range may be wider.
    """
    rows = []
    for study, arm, source in _searched(plan):
        runs = [run for run in plan.runs if (run.study, run.arm) == source and run.budget == 1]
        for seed in plan.first_seeds():
            mine = {run.setting[PROTOCOL][RATE]: run for run in runs if run.seed == seed}
            ordered = [mine[rate] for rate in sorted(mine)]
            tried = [ScoredSetting(run.setting, (score(run.fingerprint),)) for run in ordered]
            width = _range(_single(tried, arm), len(arm.space))
            is_open = width["low_open"] or width["high_open"]
            rows.append((study, arm.name, seed, width["factor"], is_open))
    return pd.DataFrame(rows, columns=list(SEEDS))


def rate_ranges(plan: Plan, tried: pd.DataFrame, singles: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (study, arm): the range of learning rates that works.

    Args:
        plan: The exploration plan.
        tried: What `rates_tried` returns.
        singles: What `seed_ranges` returns.

    Returns:
        A table with the columns `RANGES`: the numbers of trials and of seeds; `basis`, whether the
        accuracies are those on the response curve or the means over seeds, or why there is no
        range; the chosen rate; the best accuracy (a fraction); the ends of the range, their
        ratio `factor`, and whether an end is only where the trials end, so that the range may go
        on; and the `least` and the `most` factor of the ranges of single seeds, infinite for one
        with an open end. Where several values are searched
        at once, no range is that of the rate alone.
    """
    seeds = len(plan.first_seeds())
    arms = {(study, arm.name): arm for study, arm, _ in _searched(plan)}
    rows = []
    for (study, name), trials in tried.groupby(["study", "arm"], sort=False):
        arm = arms[str(study), str(name)]
        chosen = trials.loc[trials["chosen"], "learning_rate"]
        row = {
            "study": study,
            "arm": name,
            "trials": len(trials),
            "seeds": seeds,
            "chosen": nan if chosen.empty else float(chosen.iloc[0]),
        }
        width = _range(trials, len(arm.space))
        mine = singles[(singles["study"] == study) & (singles["arm"] == name)]
        factors = mine["factor"].astype(float).mask(mine["is_open"].astype(bool), inf)
        least, most = factors.min(skipna=False), factors.max(skipna=False)
        rows.append({**row, **width, "least": least, "most": most})
    return pd.DataFrame(rows, columns=list(RANGES))


def _searched(plan: Plan) -> Iterator[tuple[str, PlannedArm, Place]]:
    """Yield (study, arm, place), where `place` is the study and arm whose rows hold the trials.

    The trials of the tuned baseline are in the study `tuning`.
    """
    tuned = [
        arm
        for study in plan.studies_of("tuning")
        for arm in study.arms
        if arm.name == BASELINE and _searches_rate(arm)
    ]
    for study in plan.studies_of("comparison"):
        searched = [arm for arm in study.arms if arm.name != BASELINE and _searches_rate(arm)]
        if searched:
            yield from ((study.name, arm, (TUNING, BASELINE)) for arm in tuned)
            yield from ((study.name, arm, (study.name, arm.name)) for arm in searched)


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
    ended = trials[trials[SCORE].notna() | (trials["diverged"] > 0)]
    scores = ended["fitted"].where(ended["fitted"].notna(), ended[SCORE])
    scores = scores.mask(ended["diverged"] > 0, -inf)
    if scores.empty or scores.max() == -inf:
        return {"basis": "no trial done", **none}
    places = [log(rate) for rate in ended["learning_rate"]]
    values = scores.tolist()
    best = max(values)
    peak = values.index(best)
    low, low_open = _end(places[peak::-1], values[peak::-1], best - WITHIN)
    high, high_open = _end(places[peak:], values[peak:], best - WITHIN)
    return {
        "basis": "curve" if ended["fitted"].notna().any() else "mean",
        "best": best,
        "low": exp(low),
        "high": exp(high),
        "factor": exp(high - low),
        "low_open": low_open,
        "high_open": high_open,
    }


def _single(tried: Sequence[ScoredSetting], arm: PlannedArm) -> pd.DataFrame:
    """Return the trials of one seed, in the form in which `rates_tried` has all trials."""
    complete = [item for item in tried if item.complete]
    curve = response(complete, arm.space)
    fitted = {} if curve is None else dict(zip(map(id, complete), curve.tolist(), strict=True))
    rows = [
        {
            "learning_rate": float(item.setting[PROTOCOL][RATE]),
            SCORE: item.accuracy,
            "fitted": nan if (value := fitted.get(id(item), nan)) == -inf else value,
            "diverged": item.scores[0].state == "diverged",
        }
        for item in tried
    ]
    return pd.DataFrame(rows, columns=["learning_rate", SCORE, "fitted", "diverged"])


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


def batch_norm_ranges(plan: Plan, ranges: pd.DataFrame) -> pd.DataFrame:
    """Compare the range of the network without batch norm with that of the same network with it.

    Args:
        plan: The exploration plan.
        ranges: What `rate_ranges` returns.

    Returns:
        A table with the columns `WIDENED`: an arm that switches batch norm off and changes nothing
        else but the rate; the one it is compared `with`, which changes the rate alone, or the tuned
        baseline; and whether batch norm makes the range `wider` or `narrower`, which it does where
        the range of every single seed is so, and closed if it is the narrower one; `undecided`
        otherwise.
    """
    rows = []
    for study in plan.studies_of("comparison"):
        closed = ranges[(ranges["study"] == study.name) & ranges["factor"].notna()]
        by_arm = {row["arm"]: row for row in closed.to_dict("records")}
        alone = [arm.name for arm in study.arms if _changes(arm) == {} and arm.name in by_arm]
        partner = next((name for name in alone if name != BASELINE), BASELINE)
        for arm in study.arms:
            if _changes(arm) == {BATCH_NORM: False} and {arm.name, partner} <= set(by_arm):
                outcome = _compared(by_arm[partner], by_arm[arm.name])
                rows.append((study.name, arm.name, partner, outcome))
    return pd.DataFrame(rows, columns=list(WIDENED))


def _changes(arm: PlannedArm) -> dict[str, Any]:
    """Return the changes of an arm besides its learning rate."""
    values = {key: value for key, value in arm.factor.protocol.items() if key != RATE}
    return {**values, **dict.fromkeys(arm.factor.regularizers)}


def _compared(one: Row, other: Row) -> str:
    """Return whether a range is wider or narrower than another, in the mean and at every seed."""
    if one["factor"] > other["factor"] and one["least"] > other["most"]:
        return WIDER
    if one["factor"] < other["factor"] and one["most"] < other["least"]:
        return NARROWER
    return UNDECIDED
