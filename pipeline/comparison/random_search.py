"""Compute what random search finds, without simulation: means, chances, and exact bands."""

import warnings
from collections.abc import Iterable
from functools import cache
from math import inf, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pipeline.comparison.designs import Design
from pipeline.comparison.levels import LEVEL

EPSILON = 1e-9  # tolerance of a score

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


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
    by_point: Array = np.empty_like(shared)
    by_point[:, order] = shared
    return by_point


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


def random_means(design: Design, sizes: Whole) -> tuple[Array, Array]:
    """Return the mean scores of the best of some points drawn, by validation.

    Means are over draws with a point that is not lost.

    Args:
        design: The design.
        sizes: The numbers of points drawn, without replacement (sizes,).

    Returns:
        Its validation scores and its test scores (sizes,).
    """
    chances = best_of_random(design.ranked, sizes)
    is_scored = design.ranked >= 0
    chances = chances[:, is_scored] / chances[:, is_scored].sum(axis=1, keepdims=True)
    return chances @ design.ranked[is_scored], chances @ design.test[is_scored]


def random_success(design: Design, sizes: Whole) -> Array:
    """Return the chance that not all of some points drawn are lost (sizes,).

    Args:
        design: The design.
        sizes: The numbers of points drawn, without replacement (sizes,).
    """
    chances: Array = best_of_random(design.ranked, sizes)[:, design.ranked >= 0].sum(axis=1)
    return chances


def random_quantiles(design: Design, sizes: Whole, levels: Iterable[float]) -> list[Array]:
    """Return quantiles of the best validation score of some points drawn.

    A draw whose points are all lost is lower than every score.

    Args:
        design: The design.
        sizes: The numbers of points drawn, without replacement (sizes,).
        levels: The levels of the quantiles, in (0, 1).

    Returns:
        For each level the quantiles (sizes,); NaN if the draw at it is lost.
    """
    order = np.argsort(design.ranked, kind="stable")
    cumulative = best_of_random(design.ranked, sizes)[:, order].cumsum(axis=1)
    ordered = np.where(design.ranked >= 0, design.ranked, nan)[order]
    places = ((cumulative < level - EPSILON).sum(axis=1) for level in levels)
    return [ordered[place.clip(max=len(order) - 1)] for place in places]


def random_bands(scores: Array, sizes: Whole) -> tuple[Array, Array]:
    """Return the band of the median best score of random search, 95 % at all sizes at once.

    It inverts the simultaneous confidence band of the distribution of scores, which is exact where
    scores are continuous, and wider where they are not: Lourie et al., Show Your Work with
    Confidence, NAACL 2024, and their library opda. Upper bounds that are not known are 1.

    Args:
        scores: Accuracies of settings drawn independently (points,), a lost one 0.
        sizes: The numbers of settings that a search draws.

    Returns:
        Lower and upper bounds (sizes,).
    """
    from opda.nonparametric import EmpiricalDistribution  # slow, and needed for bands only

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Duplicates")  # the band is then too wide
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


def cost_of(means: Array, score: float) -> float:
    """Return the cost at which a curve of means (costs 1, 2, ...) reaches a score, otherwise inf.

    Between two costs it is interpolated; a score below the first mean has the cost 1. NaN, the
    score of searches without a candidate, is never reached.

    Args:
        means: Mean scores at the costs 1, 2, ... (costs,).
        score: The score to reach.
    """
    reached = np.flatnonzero(means >= score - EPSILON)
    if not len(reached):
        return inf
    after = int(reached[0])
    if after == 0:
        return 1.0
    low, high = means[after - 1 : after + 1]
    return float(after + (score - low) / (high - low))
