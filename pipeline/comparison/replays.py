"""Replay searches on a stored design: the choice of each method, and its cost.

A search proposes settings. Each is taken from the design: the point that has these values,
otherwise the nearest one that is not trained as far yet. So a method that reacts to scores chooses
among the stored points only.

The first trials of a method of `DRAWN` are independent draws, and later trials only continue them.
They are replaced by random points of the design, because the design itself consists of such draws.
Points nearest to a proposal have other scores on average than random points. For a fair comparison
with methods that use nearest points, random search can be replayed with nearest points too.

A short schedule is the beginning of the stored curve, and a longer one resumes it: a search pays
for each epoch of a point once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, inf

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.designs import Design
from pipeline.config.schema import Method
from pipeline.config.streams import derive
from pipeline.planning.searches import EPSILON, FinishedTrial, ProposedTrial, Search, propose

DRAWN: tuple[Method, ...] = ("random", "halving")  # whose trials are draws or go on with draws

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """A trial of a replayed search.

    Attributes:
        point: The number of its point.
        share: The share of the schedule that it is trained for.
        cost: The cost of the search up to and including this trial, in whole trainings.
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
        spent: The cost of each search at its end (searches,).
        settings: How many points each has trained (searches,).
        distance: The mean distance of a proposal from its point.
    """

    costs: Whole
    chosen: Whole
    spent: Array
    settings: Array
    distance: float


@dataclass(frozen=True)
class Round:
    """The trials that a search proposes at once, and where they are in a design.

    Attributes:
        proposals: The trials.
        columns: The number of the share of the schedule that each is trained for.
        numbers: The point that has exactly its values, None without one.
        distances: How far each is from every point (trials, points); None if points are drawn.
    """

    proposals: Sequence[ProposedTrial]
    columns: Whole
    numbers: Sequence[int | None]
    distances: Array | None


def replay(design: Design, search: Search, seed: int, nearest: bool = False) -> list[Step]:
    """Return the trials of one search on a design.

    Args:
        design: The design.
        search: The method, and how many trials.
        seed: That of the search.
        nearest: Whether to take the draws of a method of `DRAWN` to the nearest points too.
    """
    opening = _opening(design, search, seed, nearest)
    return _steps(design, search, seed, opening, np.arange(len(design.values)))


def _opening(design: Design, search: Search, seed: int, nearest: bool) -> Round:
    """Return the first round of a search, which is the same on every part of a design."""
    is_drawn = search.method in DRAWN and not nearest
    return _round(design, propose(design.spaces, search, (), seed), is_drawn)


def _round(design: Design, proposals: Sequence[ProposedTrial], is_drawn: bool = False) -> Round:
    settings = [proposal.values for proposal in proposals]
    budgets = np.array([proposal.budget for proposal in proposals])
    return Round(
        proposals=proposals,
        columns=np.searchsorted(design.shares, budgets - EPSILON),
        numbers=[design.number_of(values) for values in settings],
        distances=None if is_drawn else design.distances(settings),
    )


def _steps(design: Design, search: Search, seed: int, opening: Round, points: Whole) -> list[Step]:
    """Return the trials of a search on some points of a design, given its first round."""
    generator = np.random.default_rng(derive(seed, "replay", search.method))
    budgets = np.full(len(design.values), inf)  # the largest that each point has had
    budgets[points] = 0
    reached = np.zeros(len(design.values))  # the share of the schedule that was paid for it
    finished: list[FinishedTrial] = []
    steps: list[Step] = []
    current = opening
    while current.proposals:
        before = len(steps)
        order: Iterable[int] = range(len(current.proposals))
        if search.method == "grid":  # which has no order of its own
            order = generator.permutation(len(current.proposals))
        for number in order:
            proposal, column = current.proposals[number], current.columns[number]
            share = float(design.shares[column])
            is_free = budgets < proposal.budget - EPSILON
            if not is_free.any():
                break
            point, distance = _point(current, number, is_free, generator)
            cost = (steps[-1].cost if steps else 0.0) + share - float(reached[point])
            budgets[point], reached[point] = proposal.budget, share
            steps.append(Step(point, share, cost, distance))
            score = float(design.curves[point, column])
            finished.append(FinishedTrial(design.values[point], proposal.budget, score))
        if len(steps) == before:
            break
        current = _round(design, propose(design.spaces, search, finished, seed))
    return steps


def _point(
    current: Round, number: int, is_free: NDArray[np.bool_], generator: np.random.Generator
) -> tuple[int, float]:
    """Return the number of the point for a proposal, and its distance."""
    same = current.numbers[number]
    if same is not None and is_free[same]:
        return same, 0.0
    if current.distances is None:
        return int(generator.choice(np.flatnonzero(is_free))), 0.0
    distances = np.where(is_free, current.distances[number], inf)
    nearest = int(distances.argmin())
    return nearest, float(distances[nearest])


def replayed(design: Design, search: Search, replays: int, nearest: bool = False) -> Replayed:
    """Return many searches of one method on a design.

    Args:
        design: The design.
        search: The method, and how many trials.
        replays: How many searches; their seeds are 1, 2 and so on.
        nearest: As for `replay`.
    """
    (searches,) = replayed_on(design, search, replays, [np.arange(len(design.values))], nearest)
    return searches


def replayed_on(
    design: Design, search: Search, replays: int, parts: Sequence[Whole], nearest: bool = False
) -> list[Replayed]:
    """Return many searches of one method on each of several parts of a design.

    They are those on `design.subset(part)`, with the numbers of the whole design. The first round
    of a search is prepared once for all parts, since that takes most of the time.

    Args:
        design: The design.
        search: The method, and how many trials.
        replays: How many searches on each part; their seeds are 1, 2 and so on.
        parts: The numbers of the points of each part, ascending.
        nearest: As for `replay`.
    """
    runs: list[list[list[Step]]] = [[] for _ in parts]
    for seed in range(1, replays + 1):
        opening = _opening(design, search, seed, nearest)
        for searches, points in zip(runs, parts, strict=True):
            searches.append(_steps(design, search, seed, opening, points))
    return [_replayed(design, searches) for searches in runs]


def _replayed(design: Design, runs: Sequence[Sequence[Step]]) -> Replayed:
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
    """Return the point that a search has chosen at each cost; -1 before its first candidate.

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
