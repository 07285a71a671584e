"""Compare random search on a uniform scale with that on a logarithmic one, for the learning rate.

A design with logarithmic draws is weighted by the ratio of both densities, so nothing is trained.
"""

from math import nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pipeline.comparison.designs import Design
from pipeline.comparison.levels import LEVEL
from pipeline.config.streams import derive

SCALES = (
    *("study", "arm", "hyperparameter", "trials", "points", "log_test", "uniform_test"),
    *("difference", "low", "high"),
)
TRIALS = 10  # trials of each search
HALVES = 20  # halves of the points, drawn at random

Array = NDArray[np.float64]


def scales(study: str, arm: str, design: Design, rate: str | None) -> pd.DataFrame:
    """Return the results of random search if it draws a hyperparameter on either scale.

    A search of `TRIALS` trials chooses by validation. One that finds nothing, as every trial is
    lost, has the lowest test score of the design.

    `points` is the effective sample size of Kish, Survey Sampling, 1965: (sum of weights)^2 / sum
    of squared weights.

    Args:
        study: The name of the study.
        arm: The name of the arm.
        design: Its design.
        rate: The name of the hyperparameter; None for no rows, as one without a logarithmic scale.

    Returns:
        A table with the columns `SCALES`: the mean test scores of both searches (fractions);
        `points`, the effective number of equally weighted points behind the mean of the uniform
        scale; uniform minus logarithmic with its 95 % interval, by the delete-half jackknife, see
        `Design.half`.
    """
    if rate is None or design.spaces[rate].scale != "log":
        return pd.DataFrame(columns=list(SCALES))
    values = np.array([row[list(design.spaces).index(rate)] for row in design.values], dtype=float)
    log_test, uniform_test = _mean_scores(design, values)
    generator = np.random.default_rng(derive(0, "scales", study, arm))
    differences = []
    for _ in range(HALVES):
        points = design.half(generator)
        of_log, of_uniform = _mean_scores(design.subset(points), values[points])
        differences.append(of_uniform - of_log)
    error = float(np.std(differences, ddof=1))
    width = stats.t.ppf(1 - LEVEL / 2, HALVES - 1) * error if error > 0 else nan
    difference = uniform_test - log_test
    count = float(values.sum() ** 2 / np.square(values).sum())
    row = (study, arm, rate, TRIALS, count, log_test, uniform_test)
    bounds = (difference, difference - width, difference + width)
    return pd.DataFrame([(*row, *bounds)], columns=list(SCALES))


def _mean_scores(design: Design, values: Array) -> tuple[float, float]:
    """Return the mean test score of searches on the logarithmic and on the uniform scale."""
    is_scored = design.ranked >= 0
    if not is_scored.any():
        return nan, nan
    test = np.where(is_scored, design.test, design.test[is_scored].min())
    chances = (best_of_weighted(design.ranked, weights, TRIALS) for weights in (values**0, values))
    of_log, of_uniform = (float(chance @ test) for chance in chances)
    return of_log, of_uniform


def best_of_weighted(scores: Array, weights: Array, draws: int) -> Array:
    """Return the chance of each point to be the best of some drawn by weight, with replacement.

    Points of equal scores share the chance by their weights.

    With F the cumulative share of the weights by score and n draws, the chance of all points of a
    score s is F(s)^n - F(below s)^n.

    Args:
        scores: A score for each point (points,).
        weights: Of each point, at least 0 (points,).
        draws: The number of draws.
    """
    _, groups = np.unique(scores, return_inverse=True)
    sums = np.bincount(groups, weights)
    below = np.append(0.0, np.cumsum(sums) / sums.sum())
    chances: Array = np.diff(below**draws)[groups] * weights / sums[groups]
    return chances
