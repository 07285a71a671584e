"""Choose a setting among those tried, from validation scores alone.

Over an ordered space the choice is by a response curve, because many points with few seeds find a
better setting than few points with many seeds; else by the plain mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from pipeline.config.plan import Dimension, Setting
from pipeline.config.scales import position

LEAST_POINTS = 5  # of a response curve
GOOD_FIT = 0.5  # share of the variance of the means that a curve has to explain
DIGITS = 12  # more would let the order of a sum break a tie

Array = np.ndarray


@dataclass(frozen=True)
class Score:
    """The end of a run: its state, and validation accuracy and NLL under its test rule."""

    state: str
    accuracy: float = nan
    nll: float = nan


@dataclass(frozen=True)
class Tried:
    """A setting with the scores of all its runs, one for each exploration seed."""

    setting: Setting
    scores: tuple[Score, ...]

    @property
    def complete(self) -> bool:
        """Return whether every run is done."""
        return all(score.state == "done" for score in self.scores)

    @property
    def accuracy(self) -> float:
        """Return the mean validation accuracy of the runs that are done."""
        return _mean([score.accuracy for score in self.scores if score.state == "done"])

    @property
    def nll(self) -> float:
        """Return the mean validation NLL of the runs that are done."""
        return _mean([score.nll for score in self.scores if score.state == "done"])


def best(tried: Sequence[Tried], space: Sequence[Dimension]) -> int | None:
    """Return the number of the best setting, None where every setting lacks a run.

    Args:
        tried: The settings of an arm.
        space: The values that the arm searches.
    """
    complete = [number for number, item in enumerate(tried) if item.complete]
    if not complete:
        return None
    fitted = response([tried[number] for number in complete], space)
    if fitted is not None:
        return complete[int(np.argmax(fitted))]
    return min(complete, key=lambda number: (-tried[number].accuracy, tried[number].nll))


def response(tried: Sequence[Tried], space: Sequence[Dimension]) -> Array | None:
    """Return the validation accuracy of each setting on a quadratic curve over the scale.

    Where the curve explains less than half of the variance, settings at the ends that are far
    below, such as the largest learning rates, are left out as long as five remain.

    Args:
        tried: Complete settings of an arm.
        space: The values that the arm searches.

    Returns:
        The fitted accuracy of each setting, -inf for those left out; None without a curve: there is
        more than one value to search, or none on a scale, or there are fewer than five points, or
        the fit is poor.
    """
    if len(space) != 1 or space[0].scale is None or len(tried) < LEAST_POINTS:
        return None
    (dimension,) = space
    values = [item.setting[dimension.part][dimension.key] for item in tried]
    places = np.array([position(dimension.scale, value) for value in values])
    means = np.array([item.accuracy for item in tried])
    kept = np.argsort(places)
    while len(kept) >= LEAST_POINTS:
        curve = np.polynomial.Polynomial.fit(places[kept], means[kept], 2)
        residual = means[kept] - curve(places[kept])
        total = means[kept] - means[kept].mean()
        if residual @ residual <= (1 - GOOD_FIT) * (total @ total):
            fitted = np.full(len(tried), -np.inf)
            fitted[kept] = curve(places[kept])
            return fitted
        lower_end = means[kept[0]] < means[kept[-1]]
        kept = kept[1:] if lower_end else kept[:-1]
    return None


def at_edge(chosen: Setting, tried: Sequence[Tried], dimension: Dimension) -> int:
    """Return at which end of the values tried a chosen one stands: -1, 1, or 0 for neither.

    Args:
        chosen: The chosen setting.
        tried: All settings of the arm that are complete.
        dimension: The value that is looked at.

    Returns:
        0 for values that are not numbers, too, and where only one was tried.
    """
    values = [item.setting[dimension.part][dimension.key] for item in tried]
    numeric = all(type(value) in (int, float) for value in values)
    if not numeric or len(set(values)) < 2:
        return 0
    value = chosen[dimension.part][dimension.key]
    return {min(values): -1, max(values): 1}.get(value, 0)


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), DIGITS) if values else nan
