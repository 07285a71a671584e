"""Compute the time to target: updates and operations until a run is as good as the baseline's end.

The target is the median of the final validation accuracies of the baseline. A run that never
reaches it, or diverges, has an infinite time, so there are medians and ranks and no means
(AlgoPerf: Dahl et al., Benchmarking Neural Network Training Algorithms, arXiv 2306.07179). The rank
tests are a Holm family of their own, and no verdict.
"""

from collections.abc import Mapping, Sequence
from math import inf, nan
from typing import Any

import numpy as np
import pandas as pd
import scipy  # imports its parts on first use

from pipeline.comparison.curves import Histories
from pipeline.comparison.intervals import Array
from pipeline.comparison.levels import LEVEL
from pipeline.comparison.matching import Arm, compared
from pipeline.comparison.significance import holm
from pipeline.comparison.weights import last_weight, smallest_p
from pipeline.config.plan import BASELINE, Plan

RUNS = ("study", "arm", "seed", "fingerprint", "target", "updates", "flops")
COLUMNS = (
    *("study", "arm", "target", "n", "reached", "updates", "updates_low", "updates_high"),
    *("flops", "flops_low", "flops_high", "sooner", "p", "p_holm"),
)

Records = Mapping[str, Mapping[str, Any]]  # fingerprint -> record


def times(plan: Plan, histories: Histories, records: Records) -> pd.DataFrame:
    """Return one row for every compared run with a curve: its time to target.

    Args:
        plan: The confirmation plan.
        histories: The learning curves of the runs that are compared and done, by fingerprint.
        records: The records of the runs: `state`; `cost` has training_flops and updates.

    Returns:
        A table with the columns `RUNS`: the target is a fraction; updates are interpolated between
        the points of the curve, infinite for a run that never reaches the target or diverged, and
        operations are their share of those of the whole training. Empty where no baseline has a
        curve.
    """
    runs = [
        run
        for run in plan.runs_of("comparison")
        if run.fingerprint in histories or _has_diverged(run.fingerprint, records)
    ]
    curves = {run.fingerprint: _curve(histories.get(run.fingerprint, ())) for run in runs}
    first = plan.studies_of("comparison")[0].name
    ends = [
        curves[run.fingerprint][1][-1]
        for run in runs
        if (run.study, run.arm) == (first, BASELINE) and len(curves[run.fingerprint][1])
    ]
    if not ends:
        return pd.DataFrame(columns=list(RUNS))
    target = float(np.median(ends))
    rows = []
    for run in runs:
        updates = _reached(*curves[run.fingerprint], target)
        cost = records[run.fingerprint].get("cost", {})
        per_update = cost["training_flops"] / cost["updates"] if cost.get("updates") else nan
        flops = inf if _has_diverged(run.fingerprint, records) else updates * per_update
        names = run.study, run.arm, run.seed, run.fingerprint
        rows.append((*names, target, updates, flops))
    return pd.DataFrame(rows, columns=list(RUNS))


def time_to_target(plan: Plan, of_runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (study, arm): the median time to target.

    Rank test: Mann and Whitney, Annals of Mathematical Statistics 18, 1947.

    Args:
        plan: The confirmation plan.
        of_runs: What `times` returns.

    Returns:
        A table with `COLUMNS`: the number of runs and of those that reached the target, the median
        updates and operations, each with the exact interval of order statistics (95 % at least,
        NaN below six runs); the share of pairs of an arm's run and one of its reference in which
        the arm's is `sooner`, ties by half, and the two-sided p of this rank test (Mann and
        Whitney, 1947) of the operations, infinite times tie; and that p after Holm over all arms of
        the report, under looks divided by the weight of the last look of the arm.
    """
    arms = {arm.key: arm for arm in compared(plan)}
    groups = dict(iter(of_runs.groupby(["study", "arm"], sort=False)))
    rows = []
    for study in plan.studies_of("comparison"):
        for arm in study.arms:
            mine = groups.get((study.name, arm.name))
            if mine is None:
                continue
            updates, flops = mine["updates"].to_numpy(float), mine["flops"].to_numpy(float)
            test = nan, nan
            if arm.name != BASELINE:
                planned = arms[study.name, arm.name]
                reference = _at_seeds(groups.get((study.name, arm.against)), planned)
                sooner, p = _rank_test(flops, reference)
                test = sooner, smallest_p([p], [last_weight([planned], plan.looks)])
            reached = int(np.isfinite(updates).sum())
            place = study.name, arm.name, float(mine["target"].iloc[0])
            medians = *_median(updates), *_median(flops)
            rows.append((*place, len(mine), reached, *medians, *test, nan))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    tested = table["arm"] != BASELINE
    table.loc[tested, "p_holm"] = holm(table.loc[tested, "p"].to_numpy(float))
    return table


def _has_diverged(fingerprint: str, records: Records) -> bool:
    return records.get(fingerprint, {}).get("state") == "diverged"


def _curve(history: Sequence[Mapping[str, Any]]) -> tuple[Array, Array]:
    """Return updates and validation accuracies of a run, in order."""
    points = [(row["updates"], row["accuracy"]) for row in history if row["split"] == "validation"]
    table = np.array(points, dtype=float).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _reached(updates: Array, accuracies: Array, target: float) -> float:
    """Return the updates until a curve first reaches a target; infinite if it never does.

    The first point of a curve counts as it is: nothing is known before it.
    """
    above = np.flatnonzero(accuracies >= target)
    if not len(above):
        return inf
    place = int(above[0])
    if place == 0:
        return float(updates[0])
    share = (target - accuracies[place - 1]) / (accuracies[place] - accuracies[place - 1])
    return float(updates[place - 1] + share * (updates[place] - updates[place - 1]))


def _median(values: Array) -> tuple[float, float, float]:
    """Return the median and its exact interval from order statistics; infinite values are last."""
    ordered = np.sort(values)
    n = len(ordered)
    median = float(ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    outside = scipy.special.bdtr(np.arange(n), n, 0.5) <= LEVEL / 2
    if not outside.any():
        return median, nan, nan
    cut = int(outside.sum()) - 1
    return median, float(ordered[cut]), float(ordered[n - 1 - cut])


def _at_seeds(runs: pd.DataFrame | None, arm: Arm) -> pd.DataFrame | None:
    """Return the runs at the seeds of an arm: under looks its reference may have more."""
    return None if runs is None else runs[runs["seed"].isin(list(arm.runs))]


def _rank_test(flops: Array, reference: pd.DataFrame | None) -> tuple[float, float]:
    """Return the share of pairs in which a run is faster than one of the reference, and p.

    p is NaN where all times are equal, and both are where the reference has no run.
    """
    if reference is None or reference.empty:
        return nan, nan
    others = reference["flops"].to_numpy(float)
    ranks = scipy.stats.rankdata(np.concatenate([flops, others]))
    mine, theirs = ranks[: len(flops)], ranks[len(flops) :]
    later, p = scipy.stats.mannwhitneyu(mine, theirs, alternative="two-sided")
    sooner = 1 - float(later) / (len(mine) * len(theirs))
    return sooner, float(p) if np.ptp(ranks) else nan
