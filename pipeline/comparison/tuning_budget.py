"""Compare two arms after the same number of trials of a random search."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.comparison.designs import LOST, Design
from pipeline.comparison.levels import LEVEL
from pipeline.comparison.random_search import best_of_random
from pipeline.config.streams import derive

BUDGETS = ("study", "arm", "other", "trials", "chance", "low", "high", "leader", "resamples")
RESAMPLES = 1000
MOST = 0.25  # share of the points of a design; above it, a resampled design has too few of its best
SMALL = 1e-9  # standard error of a chance

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


def budget_table(
    study: str, first: tuple[str, Design], second: tuple[str, Design], trials: int
) -> pd.DataFrame:
    """Return the chance that one arm wins against another, by the number of trials of both.

    Both search at random; each takes the setting with the best validation score, and the better
    test score wins. An arm whose trials are all lost loses; equal scores count half.

    Args:
        study: The name of the study.
        first: The name of an arm and its design.
        second: Another arm of the study with its design.
        trials: The largest number of trials; at most a quarter of the points of a design.

    Returns:
        A table with the columns `BUDGETS`: `chance` that `arm` wins against `other`, with a band
        that holds for all numbers of trials at once (95 %, bootstrap over the points of both
        designs), and `leader`: the arm whose chance is above one half by that band, "" for none.
    """
    (arm, design), (other, other_design) = first, second
    points = min(len(design.values), len(other_design.values))
    most = max(1, min(trials, int(MOST * points)))
    sizes = np.arange(1, most + 1)
    estimate = wins(
        design.ranked, _test_scores(design), other_design.ranked, _test_scores(other_design), sizes
    )
    generator = np.random.default_rng(derive(0, "tuning budget", study, arm, other))
    with threadpool_limits(1):  # products of small matrices: several threads wait for each other
        resampled = np.array(
            [_resampled_wins(design, other_design, sizes, generator) for _ in range(RESAMPLES)]
        )
    low, high = band(estimate, resampled)
    leaders = np.where(low > 0.5, arm, np.where(high < 0.5, other, ""))
    columns = {"trials": sizes, "chance": estimate, "low": low, "high": high, "leader": leaders}
    names = {"study": study, "arm": arm, "other": other, "resamples": RESAMPLES}
    return pd.DataFrame(columns).assign(**names)[list(BUDGETS)]


def wins(
    validation: Array, test: Array, other_validation: Array, other_test: Array, sizes: Whole
) -> Array:
    """Return the chance that the best of some points by validation has the better test score.

    Args:
        validation: The validation scores of an arm (points,).
        test: Its test scores.
        other_validation: Those of another arm.
        other_test: Its test scores.
        sizes: The numbers of points that each arm draws, without replacement (sizes,).

    Returns:
        Chances (sizes,), exact, with equal test scores as half a win.
    """
    chosen = best_of_random(validation, sizes)  # the chance of each point to be the best one
    other_chosen = best_of_random(other_validation, sizes)
    won = (np.sign(test[:, None] - other_test) + 1) / 2  # 1, 1/2 or 0 of each pair of points
    chances: Array = (chosen @ won * other_chosen).sum(axis=1)
    return chances


def band(estimate: Array, resampled: Array) -> tuple[Array, Array]:
    """Return a band around estimates that holds for all of them at once, within [0, 1].

    Its half width is a multiple of the standard error of each; the multiple is the quantile of the
    largest deviation of a resample (Montiel Olea and Plagborg-Moller, Simultaneous Confidence
    Bands, J. Appl. Econometrics 34, 2019).

    Args:
        estimate: Chances (k,).
        resampled: The same of resampled data (resamples, k).
    """
    errors = resampled.std(axis=0).clip(SMALL)
    deviations = np.abs(resampled - resampled.mean(axis=0)) / errors
    width = np.quantile(deviations.max(axis=1), 1 - LEVEL) * errors
    return (estimate - width).clip(0, 1), (estimate + width).clip(0, 1)


def _test_scores(design: Design) -> Array:
    """Return the test scores (points,), with scores of lost runs below all other scores."""
    return np.nan_to_num(design.test, nan=LOST)


def _resampled_wins(
    design: Design, other: Design, sizes: Whole, generator: np.random.Generator
) -> Array:
    """Return the chances of `wins` (sizes,) for a bootstrap sample of both designs."""
    points, validation = design.redrawn(generator)
    other_points, other_validation = other.redrawn(generator)
    test = _test_scores(design)[points]
    other_test = _test_scores(other)[other_points]
    return wins(validation, test, other_validation, other_test, sizes)
