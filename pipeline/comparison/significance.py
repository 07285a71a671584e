"""Verdicts on a whole family of contrasts: Holm's correction, and which words a result has earned.

Separate from `intervals.py` because a corrected p-value depends on every other contrast of the report.
"""

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from pipeline.comparison.intervals import LEVEL

HELPS, HURTS = "helps", "hurts"
BELOW_MARGIN = ", below the margin"
EQUIVALENT, INCONCLUSIVE = "equivalent", "inconclusive"


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's adjusted p-values, in the order given (Holm, Scand. J. Statist. 6, 1979).

    The family is what was planned: an undefined p (NaN) stays undefined and counts in it as 1, so an
    arm that failed makes no other arm significant.
    """
    undefined = np.isnan(p_values)
    if undefined.all():
        return p_values.copy()
    adjusted = multipletests(np.where(undefined, 1.0, p_values), method="holm")[1]
    return np.where(undefined, np.nan, adjusted)


def verdict(difference: float, p_holm: float, p_equivalence: float) -> str:
    """The words for one contrast of a score that is better when higher.

    A significant difference comes first, and says so when it also lies within the margin; then
    equivalence; undefined p-values (NaN) decide nothing.
    """
    within = p_equivalence < LEVEL
    if p_holm < LEVEL:
        return (HELPS if difference > 0 else HURTS) + BELOW_MARGIN * within
    return EQUIVALENT if within else INCONCLUSIVE
