"""Correct single statistics for looks at growing numbers of seeds, by the weights of the looks.

The chance that p_k / w_k is at most a at any look k is at most a, since the weights w_k sum to 1.
So a p divided by the weight of the look at which an arm stopped is valid whatever decided to stop,
and an interval at level 1 - 0.05 w_k covers at least 95 %.
"""

from collections.abc import Sequence
from math import nan

import numpy as np

from pipeline.comparison.intervals import Array
from pipeline.comparison.matching import Arm
from pipeline.config.plan import PlannedLooks


def smallest_p(p_values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the smallest p_k / w_k of the looks that an arm has had, at most 1.

    Args:
        p_values: The p of each look; NaN where it is undefined.
        weights: The weights of these looks.

    Returns:
        The corrected p; NaN where the p of every look is undefined.
    """
    known = [p / w for p, w in zip(p_values, weights, strict=True) if not np.isnan(p)]
    return min([*known, 1.0]) if known else nan


def looks_had(arm: Arm, looks: PlannedLooks) -> int:
    """Return the number of looks for which an arm and its reference have seeds, at least 1."""
    seeds = min(len(one.runs) for one in arm.pair())
    return max(sum(count <= seeds for count in looks.seeds), 1)


def last_weight(arms: Sequence[Arm], looks: PlannedLooks | None) -> float:
    """Return the weight of the last look that arms and their references have had; 1 without looks.

    It is what the level of a single statistic at their last look is multiplied by, and what its p
    is divided by.
    """
    if looks is None:
        return 1.0
    return looks.weights[min(looks_had(arm, looks) for arm in arms) - 1]


def of_last_look(p_values: Array, weights: Array) -> Array:
    """Return p (n,) of statistics at the last look of their arms, corrected by its weight (n,)."""
    corrected: Array = np.minimum(p_values / weights, 1.0)
    return corrected
