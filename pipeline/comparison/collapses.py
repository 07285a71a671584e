"""Find runs that collapsed, and compare how often the runs of arms collapse.

If a few runs of an arm are lost, the mean over all runs describes neither the lost nor the typical
runs, and a t test is unreliable. So runs that diverged or are far worse than the other runs of
their arm are a separate result: a rate with an exact interval and an exact test. Differences
between arms are about the typical runs. Means of single arms, learning curves and figures are over
all runs that are done.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
import pandas as pd
import scipy  # imports its parts on first use
from numpy.typing import NDArray

from pipeline.comparison.family import family
from pipeline.comparison.intervals import Array, mean
from pipeline.comparison.levels import LEVEL, PRIMARY
from pipeline.comparison.matching import WHERE, Arm, Outcomes, compared
from pipeline.comparison.weights import last_weight, p_at_last_look
from pipeline.config.plan import BASELINE, Plan

FAR = 8.0  # robust standard deviations below the median of an arm to a collapsed run
FEWEST = 5  # runs of an arm whose spread is known well enough for that
SHARING = 8  # arms at a seed from which their median is the effect of the seed
NORMAL = 1.4826  # standard deviations of a normal distribution per median absolute deviation
SPIKED = 1.2533  # the same per mean absolute deviation, for scores of which most are equal
MORE, LESS = "more", "less"
RATE = ("runs", "collapsed", "diverged", "rate", "low", "high", "unseen")
TESTED = ("pairs", "only_arm", "only_reference", "p", "p_holm", "often", "undone", "repeats")
COLUMNS = ("study", "arm", "reference", *RATE, *TESTED)

Lost = NDArray[np.bool_]


def robust_losses(runs: pd.DataFrame) -> tuple[Array, Array]:
    """Return the median of each run's arm (n,), and how far below it the run is (n,).

    The distance is in robust standard deviations: 1.4826 times the median absolute deviation, of
    the arm or of all arms together, whichever is larger (Iglewicz and Hoaglin, How to Detect and
    Handle Outliers, 1993). Where both are 0 the mean absolute deviation of all arms is used. The
    distance is computed twice: from the scores, and from the scores without the effect of a seed on
    all arms, which is the median over them (Tukey's median polish). The larger distance counts.

    Args:
        runs: Columns arm, seed and score, better when higher and finite; one run per arm and seed.

    Returns:
        Medians and distances; a distance is NaN for an arm of fewer than `FEWEST` runs, and
        infinite or NaN where no run of any arm differs from its median.
    """
    medians = runs["score"].astype(float).groupby(runs["arm"], sort=False).transform("median")
    (_, plain), (_, alone) = _losses(runs)
    return medians.to_numpy(float), np.fmax(plain, alone)


def _losses(runs: pd.DataFrame) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return loss and distance of each run, from the scores, then without effects of seeds."""
    scores = runs["score"].astype(float)
    medians = scores.groupby(runs["arm"], sort=False).transform("median")
    seeds = (scores - medians).groupby(runs["seed"], sort=False)
    shared = seeds.transform("median").where(seeds.transform("size") >= SHARING, 0.0)
    return _below(runs["arm"], scores), _below(runs["arm"], scores - shared)


def _below(arms: pd.Series, scores: pd.Series) -> tuple[Array, Array]:
    """Return the distances of scores (n,) below their arm's median, also in robust deviations."""
    groups = scores.groupby(arms, sort=False)
    below = groups.transform("median") - scores
    spread = below.abs().groupby(arms, sort=False).transform("median")
    enough = groups.transform("size") >= FEWEST
    scale = NORMAL * np.maximum(spread, below.abs()[enough].median())
    scale = scale.where(scale > 0, SPIKED * below.abs()[enough].mean())
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = below.to_numpy() / scale.to_numpy()
    return below.to_numpy(float), np.where(enough, distances, nan)


def collapsed(runs: pd.DataFrame, margin: float) -> Lost:
    """Return which runs (n,) are below the median of their arm by the margin and by `FAR`.

    Args:
        runs: As `robust_losses` takes them.
        margin: The largest difference that does not matter, in the units of the scores.
    """
    far = [(below > margin) & (distances > FAR) for below, distances in _losses(runs)]
    either: Lost = far[0] | far[1]
    return either


def rate_interval(lost: int, runs: int, weight: float = 1.0) -> tuple[float, float]:
    """Return the exact 95 % interval of a rate (Clopper and Pearson, Biometrika 26, 1934).

    Args:
        lost: The number of runs that collapsed or diverged.
        runs: The number of all runs; without any the bounds are NaN.
        weight: The weight of the look at which they were counted.
    """
    if not runs:
        return nan, nan
    tail, kept = LEVEL * weight / 2, runs - lost
    low = float(scipy.special.betaincinv(lost, kept + 1, tail)) if lost else 0.0
    high = float(scipy.special.betaincinv(lost + 1, kept, 1 - tail)) if kept else 1.0
    return low, high


def highest_rate(runs: int, weight: float = 1.0) -> float:
    """Return the upper bound of the rate of collapses if none of the runs collapsed.

    At this rate the chance that none collapses is 5 %, times `weight`. The rate is the upper 95 %
    bound, about 3 / n ("rule of three", Hanley and Lippman-Hand, JAMA 249, 1983).

    Args:
        runs: The number of runs.
        weight: The weight of the look at which they were counted.
    """
    return float(1 - (LEVEL * weight) ** (1 / runs)) if runs else 1.0


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p of equal rates of two arms, paired by seed.

    Seeds at which both or neither are lost carry no information. Runs of a seed share split,
    initial weights and batch order, and so may collapse together; Fisher's test would assume that
    they do not (McNemar, Psychometrika 12, 1947; exact: binomial).

    Args:
        only_first: The seeds at which only the first arm lost its run.
        only_second: Those at which only the second did.

    Returns:
        The p, in (0, 1]; 1 where no seed has a loss of one arm alone.
    """
    single = only_first + only_second
    return min(1.0, 2 * float(scipy.special.bdtr(min(only_first, only_second), single, 0.5)))


def with_collapses(plan: Plan, outcomes: Outcomes) -> Outcomes:
    """Return the outcomes with the collapsed runs marked; pairs with such runs are left out.

    Args:
        plan: The confirmation plan.
        outcomes: States, machines and scores of its runs.
    """
    arms = {one.identity: one for arm in compared(plan) for one in arm.pair()}
    rows = [
        (number, seed, run.fingerprint, _score(outcomes, arm, run.fingerprint))
        for number, arm in enumerate(arms.values())
        for seed, run in arm.runs.items()
    ]
    runs = pd.DataFrame(rows, columns=["arm", "seed", "fingerprint", "score"])
    runs = runs[np.isfinite(runs["score"].to_numpy(float))]
    lost = runs.loc[collapsed(runs, plan.margin), "fingerprint"]
    return replace(outcomes, collapsed=frozenset(lost))


def collapses(plan: Plan, outcomes: Outcomes) -> pd.DataFrame:
    """Return the rates at which the runs of every arm collapsed, the baseline first.

    `runs` counts the runs that are done or diverged, `collapsed` the done runs that are far below
    the other runs of their arm. `rate` is the share of both kinds of lost runs with its exact 95 %
    interval; `unseen` is the highest rate that stays possible without a loss in as many runs
    (`highest_rate`). `pairs` are the seeds at which both arm and reference have such runs, with the
    numbers of seeds at which only one of the two is lost. `p` is McNemar's, `p_holm` corrected over
    the contrasts of the report; `often` is "more" or "less" where it is significant. Under looks, p
    and bounds are corrected by the weight of the last look of an arm. `undone` is the difference
    between the loss rates of two arms at which the mean over all runs of the better arm would be no
    better: the difference of typical runs over `depth_of_losses`; NaN if no run was lost.

    Args:
        plan: The confirmation plan.
        outcomes: States and scores of its runs, with those that collapsed.

    Returns:
        A table with `COLUMNS`; what the baseline lacks is NaN or empty.
    """
    arms = list(compared(plan))
    corrected = family([tuple(one.identity for one in arm.pair()) for arm in arms])
    counts = [paired_losses(arm, outcomes) for arm in arms]
    weights = np.array([last_weight([arm], plan.looks) for arm in arms])
    p_values = p_at_last_look(np.array([p for _, p in counts]), weights)
    adjusted = corrected.holm(p_values)
    lost_by = depth(arms, outcomes)
    baselines: dict[Any, dict[str, Any]] = {}
    rows = []
    for number, arm in enumerate(arms):
        reference = arm.pair()[0]
        if reference.described.name == BASELINE:
            alone = {"reference": "", "often": "", "undone": nan, "repeats": False}
            weight = last_weight([reference], plan.looks)
            baselines.setdefault(reference.identity, _rate(reference, outcomes, weight) | alone)
        (pairs, only_arm, only_reference), _ = counts[number]
        row = {
            **_rate(arm, outcomes, weights[number]),
            "reference": reference.described.name,
            "pairs": pairs,
            "only_arm": only_arm,
            "only_reference": only_reference,
            "p": p_values[number],
            "p_holm": adjusted[number],
            "often": loss_direction(only_arm, only_reference, adjusted[number]),
            "undone": abs(_difference(arm, outcomes)) / lost_by if lost_by > 0 else nan,
            "repeats": corrected.repeats[number],
        }
        rows.append(row)
    return pd.DataFrame([*baselines.values(), *rows], columns=list(COLUMNS))


def depth(arms: Sequence[Arm], outcomes: Outcomes) -> float:
    """Return the depth of losses of all arms; a diverged run counts as right on no example.

    Args:
        arms: The arms; each counts with its reference, and no run counts twice.
        outcomes: How the runs ended, and their scores.

    Returns:
        As `depth_of_losses`, in the units of the primary score.
    """
    groups = []
    for one in {one.identity: one for arm in arms for one in arm.pair()}.values():
        names = [run.fingerprint for run in one.runs.values()]
        scores = {name: _score(outcomes, one, name) for name in names}
        collapsed_runs = [name for name in names if name in outcomes.collapsed]
        kept = [
            scores[name]
            for name in names
            if outcomes.states[name] == "done" and name not in outcomes.collapsed
        ]
        lost = [scores[name] for name in collapsed_runs]
        lost += [0.0 for name in names if outcomes.states[name] == "diverged"]
        groups.append((np.array(kept), np.array(lost)))
    return depth_of_losses(groups)


def depth_of_losses(groups: Iterable[tuple[Array, Array]]) -> float:
    """Return the mean distance of lost runs below the median of the other runs of their arm.

    Args:
        groups: For each arm the scores (n,) of its typical runs and those (m,) of its lost ones,
            better when higher. NaN is a score that is not known.

    Returns:
        The distance, in the units of the scores; NaN if no run was lost.
    """
    below = [
        np.nanmedian(kept) - lost for kept, lost in groups if len(lost) and not np.isnan(kept).all()
    ]
    return mean(np.concatenate(below)) if below else nan


def _difference(arm: Arm, outcomes: Outcomes) -> float:
    """Return the mean difference of typical runs; NaN without pairs or scores."""
    values = []
    for side in outcomes.sides(arm.pair())[0]:
        score, reference_score = (
            _score(outcomes, one, run)
            for one, run in zip((arm, arm.pair()[0]), side[::-1], strict=True)
        )
        values.append(score - reference_score)
    differences = np.array(values, dtype=float)
    return mean(differences[np.isfinite(differences)])


def loss_direction(only_arm: int, only_reference: int, p_holm: float) -> str:
    """Return whether an arm is shown to lose "more" or "less" runs than its reference, or "".

    Args:
        only_arm: Seeds at which only the run of the arm is lost.
        only_reference: Seeds at which only that of its reference is.
        p_holm: McNemar's p, adjusted; NaN if no seed has both.
    """
    if not p_holm < LEVEL:
        return ""
    return MORE if only_arm > only_reference else LESS


def paired_losses(arm: Arm, outcomes: Outcomes) -> tuple[tuple[int, int, int], float]:
    """Return the numbers of lost runs of an arm and its reference at the same seeds.

    Args:
        arm: The arm.
        outcomes: How the runs ended.

    Returns:
        Three numbers of seeds: those at which both runs ended, at which only the run of the arm is
        lost, and at which only that of its reference is; and McNemar's p; NaN if no seed has
        both.
    """
    losses = outcomes.losses(arm)
    only_arm, only_reference = losses.lost_alone, losses.reference_lost_alone
    p = mcnemar_p(only_arm, only_reference) if losses.both_ended else nan
    return (losses.both_ended, only_arm, only_reference), p


def _rate(arm: Arm, outcomes: Outcomes, weight: float) -> dict[str, Any]:
    names = [run.fingerprint for run in arm.runs.values()]
    diverged = sum(outcomes.states[name] == "diverged" for name in names)
    lost = sum(name in outcomes.collapsed for name in names)
    runs = diverged + sum(outcomes.states[name] == "done" for name in names)
    return {
        **dict(zip(("study", "arm"), arm.key, strict=True)),
        **rate_columns(lost, diverged, runs, weight),
    }


def rate_columns(lost: int, diverged: int, runs: int, weight: float = 1.0) -> Mapping[str, float]:
    """Return the columns `RATE` from numbers of runs.

    Args:
        lost: Runs that collapsed.
        diverged: Runs that diverged.
        runs: All runs.
        weight: The weight of the look they are of, in (0, 1]; 1 without looks.
    """
    low, high = rate_interval(lost + diverged, runs, weight)
    rate = (lost + diverged) / runs if runs else nan
    unseen = highest_rate(runs, weight)
    return dict(zip(RATE, (runs, lost, diverged, rate, low, high, unseen), strict=True))


def _score(outcomes: Outcomes, arm: Arm, run: str) -> float:
    rule = arm.rule(PRIMARY)
    return outcomes.scores.get((run, rule.view, rule.members, *WHERE[PRIMARY]), nan)
