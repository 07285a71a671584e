"""Test equivalence, and correct p-values over a family of contrasts."""

from math import nan

import numpy as np
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from pipeline.comparison.intervals import Array, varies


def equivalence_p(differences: Array, margin: float) -> float:
    """Return p of two one-sided t tests (TOST) of the mean of differences (n,).

    Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987.

    Args:
        differences: The paired differences (n,).
        margin: The bound of equivalence, in the units of the differences.

    Returns:
        p, small where the mean lies between -margin and margin; NaN where the differences do not
        vary.
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
