"""Tests of equivalence, Holm's correction over a family of contrasts, and verdicts."""

from math import nan

import numpy as np
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from pipeline.comparison.intervals import Array, varies
from pipeline.comparison.levels import LEVEL

HELPS, HURTS = "helps", "hurts"
BELOW_MARGIN = ", below the margin"
EQUIVALENT, INCONCLUSIVE = "equivalent", "inconclusive"


def equivalence_p(differences: Array, margin: float) -> float:
    """Return p of two one-sided t tests (TOST) of the mean of differences (n,).

    It is small where the mean lies between -margin and margin, and NaN where the differences do not
    vary. Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987.
    """
    if not varies(differences):
        return nan
    return float(DescrStatsW(differences).ttost_mean(-margin, margin)[0])


def holm(p_values: Array) -> Array:
    """Return Holm's adjusted p-values, in the order given (Holm, Scand. J. Statist. 6, 1979).

    The family is what was planned: an undefined p (NaN) stays undefined and counts as 1, so that a
    failed arm makes no other arm significant.
    """
    undefined = np.isnan(p_values)
    if undefined.all():
        return p_values.copy()
    adjusted = multipletests(np.where(undefined, 1.0, p_values), method="holm")[1]
    return np.where(undefined, np.nan, adjusted)


def verdict(difference: float, p_holm: float, p_equivalence: float) -> str:
    """Return the verdict on one contrast of a score that is better when higher.

    A significant difference takes precedence over equivalence and is marked where it lies within
    the margin. Undefined p-values (NaN) decide nothing.
    """
    within = p_equivalence < LEVEL
    if p_holm < LEVEL:
        return (HELPS if difference > 0 else HURTS) + BELOW_MARGIN * within
    return EQUIVALENT if within else INCONCLUSIVE
