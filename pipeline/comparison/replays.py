"""Replay searches on a stored design: what each method would have chosen, and how soon.

A search proposes settings; each is taken from the design: the point that has these values, else the
nearest one that is not trained as far yet. Where the first trials of a method are independent draws,
they are points drawn at random, as the design itself consists of such draws. A method that reacts
to scores thereby chooses among the stored points only. A short schedule is the stored curve up to
there, and a longer one resumes it: a search pays for each epoch of a point once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, inf, nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from pipeline.comparison.designs import Design
from pipeline.comparison.levels import LEVEL
from pipeline.config.schema import Method
from pipeline.config.streams import derive
from pipeline.planning.searches import Finished, Proposal, Search, propose

CURVES = (
    *("study", "arm", "method", "cost", "replays", "ended", "mean", "median", "low", "high"),
    *("regret", "test", "optimism", "band_low", "band_high"),
)
METHODS = (
    *("study", "arm", "method", "basis", "replays", "settings", "cost", "distance", "validation"),
    *("regret", "test", "optimism", "random_validation", "random_cost"),
)
STORED = "stored points only"
BASIS: dict[Method, str] = {  # what a replay rests on
    "random": "points drawn",
    "grid": "nearest points",
    "sobol": "nearest points",
    "coarse_to_fine": f"{STORED}, stored curves",
    "halving": "points drawn, stored curves",
    "tpe": STORED,
}
FIRST_DRAWN: tuple[Method, ...] = ("random", "coarse_to_fine", "halving", "tpe")
MODELS: tuple[Method, ...] = ("tpe",)  # methods that fit a model in each round
FEWER = 100  # replays of a method that fits models, at most
OUTER = (10, 90)  # percentiles of replays
EPSILON = 1e-9  # of a cost in whole trainings

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """A trial of a replayed search.

    Attributes:
        point: The number of its point.
        share: The share of the schedule that it is trained for.
        cost: What the search has spent up to and with it, in whole trainings.
        distance: How far the point is from the proposed values in the unit cube; 0 where drawn.
    """

    point: int
    share: float
    cost: float
    distance: float = 0.0


@dataclass(frozen=True)
class Replayed:
    """The searches of one method at each cost (searches, costs).

    Attributes:
        costs: Costs in whole trainings (costs,).
        chosen: The number of the point with the best validation score among those trained to the
            end; -1 without any.
        spent: What each search has spent at its end (searches,).
        settings: How many points each has trained (searches,).
        distance: The mean distance of a proposal from its point.
    """

    costs: Whole
    chosen: Whole
    spent: Array
    settings: Array
    distance: float


def replay(design: Design, search: Search, seed: int) -> list[Step]:
    """Return the trials of one search on a design.

    Args:
        design: The design.
        search: The method, and how many trials.
        seed: That of the search.
    """
    generator = np.random.default_rng(derive(seed, "replay", search.method))
    budgets = np.zeros(len(design.values))  # the largest that each point has had
    reached = np.zeros(len(design.values))  # the share of the schedule that was paid for it
    finished: list[Finished] = []
    steps: list[Step] = []
    while proposals := propose(design.spaces, search, finished, seed):
        before = len(steps)
        if search.method == "grid":  # which has no order of its own
            proposals = [proposals[number] for number in generator.permutation(len(proposals))]
        is_drawn = not finished and search.method in FIRST_DRAWN
        for proposal in proposals:
            column = int(np.searchsorted(design.shares, proposal.budget - EPSILON))
            share = float(design.shares[column])
            is_free = budgets < proposal.budget - EPSILON
            if not is_free.any():
                break
            point, distance = _point(design, proposal, is_free, is_drawn, generator)
            cost = (steps[-1].cost if steps else 0.0) + share - float(reached[point])
            budgets[point], reached[point] = proposal.budget, share
            steps.append(Step(point, share, cost, distance))
            score = float(design.curves[point, column])
            finished.append(Finished(design.values[point], proposal.budget, score))
        if len(steps) == before:
            break
    return steps


def _point(
    design: Design,
    proposal: Proposal,
    is_free: NDArray[np.bool_],
    is_drawn: bool,
    generator: np.random.Generator,
) -> tuple[int, float]:
    """Return the number of the point for a proposal, and its distance."""
    same = design.number_of(proposal.values)
    if same is not None and is_free[same]:
        return same, 0.0
    free = np.flatnonzero(is_free)
    if is_drawn:
        return int(generator.choice(free)), 0.0
    distances = design.distances(proposal.values)[free]
    nearest = int(distances.argmin())
    return int(free[nearest]), float(distances[nearest])


def replayed(design: Design, search: Search, replays: int) -> Replayed:
    """Return many searches of one method on a design.

    Args:
        design: The design.
        search: The method, and how many trials.
        replays: How many searches; their seeds are 1, 2 and so on.
    """
    runs = [replay(design, search, seed) for seed in range(1, replays + 1)]
    most = max(steps[-1].cost for steps in runs)
    costs = np.arange(1, ceil(most - EPSILON) + 1)
    return Replayed(
        costs=costs,
        chosen=np.array([_chosen(design, steps, costs) for steps in runs]),
        spent=np.array([steps[-1].cost for steps in runs]),
        settings=np.array([float(len({step.point for step in steps})) for steps in runs]),
        distance=float(np.mean([step.distance for steps in runs for step in steps])),
    )


def _chosen(design: Design, steps: Sequence[Step], costs: Whole) -> list[int]:
    """Return which point a search has chosen at every cost, -1 before it has a candidate.

    Only points trained to the end are candidates; of equal scores the first counts.
    """
    whole = [step for step in steps if step.share == 1 and design.ranked[step.point] >= 0]
    chosen, best, place = [], -1, 0
    for cost in costs:
        while place < len(whole) and whole[place].cost <= cost + EPSILON:
            point = whole[place].point
            if best < 0 or design.ranked[point] > design.ranked[best]:
                best = point
            place += 1
        chosen.append(best)
    return chosen


def best_of_random(scores: Array, sizes: Whole) -> Array:
    """Return the chance of each point to be the best of some drawn without replacement.

    Equal scores share their chance. By the hypergeometric distribution of the largest rank:
    C(r - 1, n - 1) / C(N, n) for rank r of N and n draws.

    Args:
        scores: A score for each point (points,).
        sizes: The numbers of draws (sizes,), at most as many as points.

    Returns:
        Chances (sizes, points); each row adds up to 1.
    """
    order = np.argsort(scores, kind="stable")
    chances = _by_rank(len(scores), tuple(sizes.tolist()))
    _, starts, lengths = np.unique(scores[order], return_index=True, return_counts=True)
    shared = np.repeat(np.add.reduceat(chances, starts, axis=1) / lengths, lengths, axis=1)
    found: Array = np.empty_like(shared)
    found[:, order] = shared
    return found


@cache
def _by_rank(points: int, sizes: tuple[int, ...]) -> Array:
    """Return the chance of each rank, from 1, to be the largest of each number of draws."""
    ranks = np.arange(1, points + 1)
    draws = np.array(sizes)[:, None]
    logarithms = _log_binomial(ranks - 1, draws - 1) - _log_binomial(points, draws)
    chances: Array = np.where(ranks >= draws, np.exp(logarithms), 0.0)
    return chances


def _log_binomial(n: Any, k: Any) -> Array:
    """Return the logarithm of a binomial coefficient; without meaning where k > n."""
    return np.asarray(-np.log(n + 1.0) - special.betaln(np.maximum(n - k, 0) + 1.0, k + 1.0))


def random_means(design: Design, sizes: Whole) -> Array:
    """Return the mean validation score of the best of some points drawn (sizes,).

    The mean is over draws with a point that is not lost.
    """
    chances = best_of_random(design.ranked, sizes)
    known = design.ranked >= 0
    chances = chances[:, known] / chances[:, known].sum(axis=1, keepdims=True)
    means: Array = chances @ design.ranked[known]
    return means


def random_bands(scores: Array, sizes: Whole) -> tuple[Array, Array]:
    """Return the band of the median best score of random search, 95 % at all sizes at once.

    It inverts the simultaneous confidence band of the distribution of scores, which is exact where
    scores are continuous, and wider where they are not: Lourie et al., Show Your Work with
    Confidence, NAACL 2024, and their library opda. What is not known above is 1.

    Args:
        scores: Accuracies of settings drawn independently (points,), a lost one 0.
        sizes: The numbers of settings that a search draws.

    Returns:
        Lower and upper bounds (sizes,).
    """
    from opda.nonparametric import EmpiricalDistribution  # slow, and needed for bands alone

    least, _, most = EmpiricalDistribution.confidence_bands(
        scores,
        1 - LEVEL,
        a=0.0,
        b=1.0,
        generator=_generator(len(scores)),
        method="ld_equal_tailed",
        n_jobs=1,
    )
    # the lower band of a distribution function has the higher quantiles
    bounds = (dist.quantile_tuning_curve(sizes.astype(float)) for dist in (most, least))
    low, high = bounds
    return low, high


@cache
def _generator(size: int) -> np.random.Generator:
    """Return the source of the simulated bands of a size; opda stores them by this object."""
    return np.random.default_rng(size)


def search_tables(
    study: str, arm: str, design: Design, searches: Sequence[Search], replays: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what searches find on a design, by cost and at their ends.

    Args:
        study: The name of the study.
        arm: The name of the arm.
        design: Its design.
        searches: The methods, each with its number of trials.
        replays: How many searches of each method; of a method that fits models at most `FEWER`.

    Returns:
        A table with the columns `CURVES`: of the replayed searches at each cost, in whole
        trainings, the share that has a candidate (`ended`); over those the mean and median
        validation score of the best, its 10th and 90th percentile, how far it is below the best
        point of the design (`regret`), the mean test score, and validation minus test
        (`optimism`). Bands are those of `random_bands`, for random search on a random design.
        And a table with the columns `METHODS`, the same at the end of the searches: `settings`
        and `cost` are means over searches, `distance` that of proposals from their points in the
        unit cube; `random_validation` is the mean of random search at that cost, and
        `random_cost` at which cost random search has the same mean, inf beyond the design.
    """
    curves, ends = [], []
    for search in searches:
        number = min(replays, FEWER) if search.method in MODELS else replays
        found = replayed(design, search, number)
        curve = _curve_rows(design, search.method, found)
        curves.append(curve)
        ends.append(_end_row(design, search.method, found, curve[-1]))
    keys = {"study": study, "arm": arm}
    rows = [{**keys, **row} for curve in curves for row in curve]
    return (
        pd.DataFrame(rows, columns=list(CURVES)),
        pd.DataFrame([{**keys, **row} for row in ends], columns=list(METHODS)),
    )


def _curve_rows(design: Design, method: Method, found: Replayed) -> list[dict[str, Any]]:
    best = float(design.ranked.max())
    rows = []
    for chosen, cost in zip(found.chosen.T, found.costs, strict=True):
        points = chosen[chosen >= 0]
        row: dict[str, Any] = {"method": method, "cost": int(cost), "replays": len(chosen)}
        row["ended"] = len(points) / len(chosen)
        if len(points):
            scores, test = design.ranked[points], design.test[points]
            row |= {"mean": scores.mean(), "median": np.median(scores)}
            row |= dict(zip(("low", "high"), np.percentile(scores, OUTER), strict=True))
            row |= {"regret": best - scores.mean(), "test": test.mean()}
            row["optimism"] = scores.mean() - test.mean()
        rows.append(row)
    if method == "random" and design.is_random:
        low, high = random_bands(design.ranked.clip(0), found.costs)
        for row, *bounds in zip(rows, low, high, strict=True):
            row |= dict(zip(("band_low", "band_high"), bounds, strict=True))
    return rows


def _end_row(
    design: Design, method: Method, found: Replayed, last: dict[str, Any]
) -> dict[str, Any]:
    cost, mean = float(found.spent.mean()), last.get("mean", nan)
    sizes = np.arange(1, len(design.values) + 1)
    means = random_means(design, sizes)
    return {
        "method": method,
        "basis": BASIS[method],
        "replays": len(found.chosen),
        "settings": float(found.settings.mean()),
        "cost": cost,
        "distance": found.distance,
        "validation": mean,
        **{key: last.get(key, nan) for key in ("regret", "test", "optimism")},
        "random_validation": float(np.interp(cost, sizes, means)),
        "random_cost": cost_of(means, mean),
    }


def cost_of(means: Array, score: float) -> float:
    """Return the cost at which a curve of means (costs 1, 2, ...) reaches a score, else inf.

    Between two costs it is interpolated; a score below the first mean has the cost 1.
    """
    reached = np.flatnonzero(means >= score - EPSILON)
    if not len(reached):
        return inf
    after = int(reached[0])
    if after == 0:
        return 1.0
    low, high = means[after - 1 : after + 1]
    return float(after + (score - low) / (high - low))
