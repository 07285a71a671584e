"""Correct the statistics of an arm for looks at growing numbers of seeds, by their weights.

The chance that p_k / w_k is at most a at any look k is at most a, since the weights w_k sum to 1.
So a p divided by the weight of the look at which an arm stopped is valid for any stopping rule, and
an interval at level 1 - 0.05 w_k covers at least 95 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from pipeline.comparison.intervals import Array, half_width, mean, standard_error, varies
from pipeline.comparison.levels import LEVEL
from pipeline.comparison.matching import Arm
from pipeline.comparison.significance import t_equivalence_p, t_test_p
from pipeline.config.plan import PlannedLooks


def smallest_p(p_values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the smallest p_k / w_k of the looks that an arm has had, at most 1.

    Args:
        p_values: The p of each look; NaN if it is undefined.
        weights: The weights of these looks.

    Returns:
        The corrected p; NaN if the p of every look is undefined.
    """
    corrected = [p / w for p, w in zip(p_values, weights, strict=True) if not np.isnan(p)]
    return min([*corrected, 1.0]) if corrected else nan


@dataclass(frozen=True)
class LookMean:
    """The mean difference of an arm at a look.

    Attributes:
        value: The mean.
        error: Its standard error, over seeds or over seeds and test images; NaN if it is
            undefined.
        n: The number of differences.
    """

    value: float
    error: float
    n: int

    @property
    def p(self) -> float:
        """Return the two-sided p of a t test."""
        return float(t_test_p(*self._arrays()))

    def equivalence_p(self, margin: float) -> float:
        """Return the p of two one-sided t tests within the margin.

        Args:
            margin: The margin, in the unit of the mean.
        """
        return float(t_equivalence_p(*self._arrays(), margin))

    def interval(self, level: float) -> tuple[float, float]:
        """Return the bounds of the interval at one minus this level.

        Args:
            level: One minus the confidence, 0 to 1.

        Returns:
            Both bounds, in the unit of the mean; NaN if the error is NaN.
        """
        half = float(half_width(self.error, self.n, level))
        return self.value - half, self.value + half

    def _arrays(self) -> tuple[Array, Array, Array]:
        freedom = max(self.n, 2) - 1
        return np.array(self.value), np.array(self.error), np.array(float(freedom))


def mean_over_seeds(differences: Array) -> LookMean:
    """Return the mean of differences with its standard error over seeds.

    Args:
        differences: (seeds,), in the unit of the metric.

    Returns:
        The mean, its error and the number of seeds. The error is NaN if the differences do not
        vary.
    """
    error = standard_error(differences) if varies(differences) else nan
    return LookMean(mean(differences), error, len(differences))


def look_statistics(looks: Sequence[LookMean], weights: Sequence[float]) -> dict[str, float]:
    """Return the interval and p-value of an arm, corrected for its looks.

    They replace the interval and p-value for a fixed number of seeds. A look whose mean difference
    has another sign than the last one does not count, since a verdict has the direction of the last
    look.

    Args:
        looks: The mean difference at each look that the arm has had.
        weights: The weights of these looks.

    Returns:
        `low` and `high`, the bounds of the 95 % interval corrected for the looks, in the unit of
        the differences; `excludes_zero`, whether 0 is outside it; and the corrected two-sided `p`.
    """
    last = looks[-1]
    p_values = [one.p if one.value * last.value > 0 else nan for one in looks[:-1]]
    low, high = last.interval(LEVEL * weights[-1])
    return {
        "low": low,
        "high": high,
        "excludes_zero": low > 0 or high < 0,
        "p": smallest_p([*p_values, last.p], weights),
    }


def look_equivalence(
    looks: Sequence[LookMean], weights: Sequence[float], margin: float
) -> dict[str, float]:
    """Return p and interval of equivalence after the looks of an arm.

    A look before the last one does not count where the last mean difference is beyond the margin.

    Args:
        looks: As for `look_statistics`.
        weights: The weights of these looks.
        margin: The margin of equivalence, in the units of the differences.

    Returns:
        `low_90` and `high_90`, the bounds of the 90 % interval corrected for the looks, in the unit
        of the differences; and the corrected `p_equivalence`.
    """
    low, high = looks[-1].interval(2 * LEVEL * weights[-1])
    is_within = abs(looks[-1].value) < margin
    p_values = [look.equivalence_p(margin) if is_within else nan for look in looks[:-1]]
    p_values.append(looks[-1].equivalence_p(margin))
    return {"low_90": low, "high_90": high, "p_equivalence": smallest_p(p_values, weights)}


def looks_had(arm: Arm, looks: PlannedLooks) -> int:
    """Return the number of looks for which an arm and its reference have seeds, at least 1.

    Args:
        arm: The arm.
        looks: The planned looks.
    """
    seeds = min(len(one.runs) for one in arm.pair())
    return max(sum(count <= seeds for count in looks.seeds), 1)


def last_weight(arms: Sequence[Arm], looks: PlannedLooks | None) -> float:
    """Return the weight of the last look that arms and their references have had.

    The level of a single statistic at their last look is multiplied by this weight, and its p is
    divided by it.

    Args:
        arms: The arms.
        looks: The planned looks; None without any.

    Returns:
        In (0, 1]; 1 without looks.
    """
    if looks is None:
        return 1.0
    return looks.weights[min(looks_had(arm, looks) for arm in arms) - 1]


def p_at_last_look(p_values: Array, weights: Array) -> Array:
    """Return the p-values of statistics at the last look of their arms, corrected for the looks.

    Args:
        p_values: (n,), in [0, 1] or NaN.
        weights: (n,), the weights of these looks, in (0, 1].

    Returns:
        (n,), p / weight, at most 1.
    """
    corrected: Array = np.minimum(p_values / weights, 1.0)
    return corrected
