"""Tabulate the results of each search method on a design, by cost and at its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pipeline.comparison.designs import Design
from pipeline.comparison.levels import LEVEL
from pipeline.comparison.random_search import (
    cost_of,
    random_bands,
    random_means,
    random_quantiles,
    random_success,
)
from pipeline.comparison.replays import DRAWN, Replayed, replayed, replayed_on
from pipeline.config.schema import Method
from pipeline.config.streams import derive
from pipeline.planning.searches import Search

CURVES = (
    *("study", "arm", "method", "cost", "replays", "ended", "mean", "median", "low", "high"),
    *("regret", "test", "optimism", "band_low", "band_high"),
)
METHODS = (
    *("study", "arm", "method", "basis", "replays", "settings", "cost", "distance", "validation"),
    *("regret", "test", "optimism", "random_validation", "random_cost", "random_test"),
    *("ended", "random_ended", "difference", "low", "high", "p"),
)
STORED = "stored points only"
BASIS: dict[Method, str] = {  # basis of a replay
    "random": "points drawn, all searches (exact)",
    "grid": STORED,
    "sobol": "nearest points",
    "coarse_to_fine": f"{STORED}, stored curves",
    "halving": "points drawn, stored curves",
    "tpe": STORED,
}
MODELS: tuple[Method, ...] = ("tpe",)  # methods that fit a model in each round
FEWER = 100  # replays of a method that fits models, at most
QUANTILES = {"low": 0.1, "median": 0.5, "high": 0.9}  # quantiles of replays
HALVES = 20  # halves of the points, drawn at random
FOUND = 0.99  # least share of searches with a candidate; means are over these searches only
NEAREST_REPLAYS = 200  # replays of random search with nearest points, for its curve

Array = NDArray[np.float64]


def method_tables(
    study: str, arm: str, design: Design, searches: Sequence[Search], replays: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the results of searches on a design, by cost and at their ends.

    Args:
        study: The name of the study.
        arm: The name of the arm.
        design: Its design.
        searches: The methods, each with its number of trials.
        replays: How many searches of each method; of a method that fits models at most `FEWER`.

    Returns:
        A table with the columns `CURVES`: of the replayed searches at each cost, in whole
        trainings, the share that has a candidate (`ended`); over those the mean validation score
        of the best, how far it is below the best point of the design (`regret`), the mean test
        score, and validation minus test (`optimism`). Random search is exact, without replays
        (`replays` is 0). `median`, `low` and `high` are the median
        and the 10th and 90th percentile over all searches, in which those without a candidate are
        the lowest; NaN if the percentile is one of them. Bands are those of `random_bands`, for
        random search on a random design.

        And a table with the columns `METHODS`, the same at the end of the searches: `settings`
        and `cost` are means over searches, `distance` that of proposals from their points in the
        unit cube. `random_validation` and `random_test` are the means of random search at that
        cost, `random_cost` is the cost at which random search has the same validation score (inf:
        beyond the design); for methods outside `DRAWN` random search is taken to the nearest
        points as they are. `ended` and `random_ended` are the shares of searches that have a
        candidate at that cost. `difference` is that of the test scores, method minus random, with a
        95 % interval and p of `difference_to_random`; NaN if either share is below `FOUND`.
    """
    curves: list[dict[str, Any]] = []
    ends = []
    numbers = [min(replays, FEWER) if each.method in MODELS else replays for each in searches]
    every = [
        None if search.method == "random" else replayed(design, search, number)
        for search, number in zip(searches, numbers, strict=True)
    ]
    random_costs = [len(random_sizes(design, search)) for search in searches]
    most = max(
        _most(searched) if searched else cost
        for searched, cost in zip(every, random_costs, strict=True)
    )
    groups = {search.method in DRAWN: search.method for search in searches}
    equal = {key: random_reference(design, method, most, replays) for key, method in groups.items()}
    whole = {
        key: random_reference(design, method, len(design.values), NEAREST_REPLAYS)
        for key, method in groups.items()
    }
    for search, number, searched in zip(searches, numbers, every, strict=True):
        is_drawn = search.method in DRAWN
        if searched is None:
            curve = _random_curve(design, search)
            totals = _random_totals(design, search)
        else:
            curve = _curve(design, search.method, searched)
            totals = _totals(searched)
        end = _end(search.method, totals, curve[-1], equal[is_drawn])
        end["random_cost"] = cost_of(whole[is_drawn].validation, end["validation"])
        if search.method != "random" and min(end["ended"], end["random_ended"]) >= FOUND:
            end |= difference_to_random(design, search, number, end)
        curves += curve
        ends.append(end)
    keys = {"study": study, "arm": arm}
    return (
        pd.DataFrame([{**keys, **row} for row in curves], columns=list(CURVES)),
        pd.DataFrame([{**keys, **row} for row in ends], columns=list(METHODS)),
    )


def difference_to_random(
    design: Design, search: Search, replays: int, end: Mapping[str, Any]
) -> dict[str, float]:
    """Return the difference in test score between a method and random search at the same cost.

    Another design would give another difference. Its variance is from the delete-half jackknife,
    see `Design.half`. It includes the variance of the replays, so few replays make the interval too
    wide.

    Args:
        design: The design.
        search: The method, and how many trials.
        replays: How many searches, over all halves.
        end: The row of `method_tables`, with `test` and `random_test`.

    Returns:
        `difference`, the bounds `low` and `high` of a 95 % interval, and a two-sided p, by
        Student's t with one degree of freedom less than halves; NaN if nothing varies.
    """
    difference = end["test"] - end["random_test"]
    generator = np.random.default_rng(derive(0, "halves", search.method))
    halves = [design.half(generator) for _ in range(HALVES)]
    every = replayed_on(design, search, max(1, replays // HALVES), halves)
    most = max(_most(searched) for searched in every)
    equal = random_references(design, search.method, most, replays // HALVES, halves)
    values = []
    for searched, reference in zip(every, equal, strict=True):
        last = _curve(design, search.method, searched)[-1]
        row = _end(search.method, _totals(searched), last, reference)
        values.append(row["test"] - row["random_test"])
    error = float(np.std(values, ddof=1))
    if not error > 0:  # NaN, or all searches are alike
        return {"difference": difference, "low": nan, "high": nan, "p": nan}
    width = stats.t.ppf(1 - LEVEL / 2, HALVES - 1) * error
    p = 2 * stats.t.sf(abs(difference) / error, HALVES - 1)
    bounds = {"low": difference - width, "high": difference + width}
    return {"difference": difference, **bounds, "p": float(p)}


def _curve(design: Design, method: Method, searched: Replayed) -> list[dict[str, Any]]:
    best = float(design.ranked.max())
    rows = []
    for chosen, cost in zip(searched.chosen.T, searched.costs, strict=True):
        points = chosen[chosen >= 0]
        row: dict[str, Any] = {"method": method, "cost": int(cost), "replays": len(chosen)}
        row["ended"] = len(points) / len(chosen)
        if len(points):
            scores, test = design.ranked[points], design.test[points]
            row |= {"mean": scores.mean(), "regret": best - scores.mean(), "test": test.mean()}
            row["optimism"] = scores.mean() - test.mean()
            row |= dict(zip(QUANTILES, _quantiles(scores, len(chosen)), strict=True))
        rows.append(row)
    return rows


def random_sizes(design: Design, search: Search) -> NDArray[np.int64]:
    """Return the numbers of points that random search has drawn, one after the other.

    Args:
        design: The design that is searched.
        search: The search, whose trials are the most points.

    Returns:
        (sizes,) From 1 to the number of trials, or of the points of the design if there are fewer.
    """
    return np.arange(1, min(search.trials, len(design.values)) + 1)


def _random_curve(design: Design, search: Search) -> list[dict[str, Any]]:
    """Return the rows of random search, which needs no replays: its chances are exact."""
    sizes = random_sizes(design, search)
    means, test = random_means(design, sizes)
    columns = {
        "mean": means,
        "regret": float(design.ranked.max()) - means,
        "test": test,
        "optimism": means - test,
        "ended": random_success(design, sizes),
        **dict(zip(QUANTILES, random_quantiles(design, sizes, QUANTILES.values()), strict=True)),
    }
    if design.is_random:
        bounds = random_bands(design.ranked.clip(0), sizes)
        columns |= dict(zip(("band_low", "band_high"), bounds, strict=True))
    table = pd.DataFrame(columns).assign(method="random", cost=sizes, replays=0)
    rows: list[dict[str, Any]] = table.to_dict("records")
    return rows


def _quantiles(scores: Array, searches: int) -> Array:
    """Return the `QUANTILES` over all searches; NaN if one has no score.

    Args:
        scores: The scores of the searches that have a candidate.
        searches: The number of all searches, of which the others are the lowest.
    """
    ordered = np.sort(scores)
    places = np.array([*QUANTILES.values()]) * (searches - 1) - (searches - len(ordered))
    values = np.interp(places, np.arange(len(ordered)), ordered)
    quantiles: Array = np.where(places >= 0, values, nan)
    return quantiles


@dataclass(frozen=True)
class Reference:
    """The results of random search at each cost, in whole trainings (costs,).

    Attributes:
        costs: The costs 1, 2 and so on.
        validation: The mean validation score of the best.
        test: The mean test score of the same.
        ended: The share of searches with a candidate.
    """

    costs: NDArray[np.int64]
    validation: Array
    test: Array
    ended: Array

    def at(self, cost: float) -> dict[str, float]:
        """Return the columns of `METHODS` about random search at one cost.

        Args:
            cost: A cost in whole trainings.

        Returns:
            `random_validation` and `random_test` (fractions), and `random_ended` (share).
        """
        columns = {"validation": self.validation, "test": self.test, "ended": self.ended}
        return {
            f"random_{name}": float(np.interp(cost, self.costs, values))
            for name, values in columns.items()
        }


def random_reference(design: Design, method: Method, most: int, replays: int) -> Reference:
    """Return the random search that a method is compared with.

    It is exact for methods whose trials are random points. For other methods each proposal is
    replaced by the nearest point. This changes the scores that random search finds too, so it is
    replayed in the same way. Its result at a cost does not depend on the largest cost.

    Args:
        design: The design.
        method: The method.
        most: The largest cost, in whole trainings.
        replays: How many random searches are replayed.
    """
    everything = [np.arange(len(design.values))]
    (reference,) = random_references(design, method, most, replays, everything)
    return reference


def random_references(
    design: Design, method: Method, most: int, replays: int, parts: Sequence[NDArray[np.int64]]
) -> list[Reference]:
    """Return random search with as many points on each of several parts of a design.

    Args:
        design: The design.
        method: The method that is compared with it.
        most: The largest cost, in whole trainings.
        replays: How many random searches are replayed where they are not exact.
        parts: The numbers of the points of each part, (size,) for all of them.

    Returns:
        A reference for each part.
    """
    size = len(parts[0])
    if method in DRAWN:
        sizes = np.arange(1, size + 1)
        subsets = [design.subset(points) for points in parts]
        return [
            Reference(sizes, *random_means(part, sizes), random_success(part, sizes))
            for part in subsets
        ]
    search = Search(method="random", trials=min(most, size))
    every = replayed_on(design, search, replays, parts, nearest=True)
    return [_reference(searched, _curve(design, method, searched)) for searched in every]


def _reference(searched: Replayed, rows: Sequence[Mapping[str, Any]]) -> Reference:
    columns = {key: [row.get(key, nan) for row in rows] for key in ("mean", "test", "ended")}
    return Reference(searched.costs, *map(np.array, columns.values()))


def _most(searched: Replayed) -> int:
    """Return the cost of searches in whole trainings, rounded up."""
    return ceil(float(searched.spent.mean()))


def _totals(searched: Replayed) -> dict[str, float]:
    """Return the mean costs of replayed searches."""
    return {
        "replays": len(searched.chosen),
        "settings": float(searched.settings.mean()),
        "cost": float(searched.spent.mean()),
        "distance": searched.distance,
    }


def _random_totals(design: Design, search: Search) -> dict[str, float]:
    """Return the mean costs of random search."""
    trials = len(random_sizes(design, search))
    return {"replays": 0, "settings": float(trials), "cost": float(trials), "distance": 0.0}


def _end(
    method: Method, totals: Mapping[str, float], last: Mapping[str, Any], reference: Reference
) -> dict[str, Any]:
    return {
        "method": method,
        "basis": BASIS[method],
        **totals,
        "validation": last.get("mean", nan),
        **{key: last.get(key, nan) for key in ("regret", "test", "optimism")},
        "ended": last["ended"],
        **reference.at(totals["cost"]),
    }
