"""Test equivalence, and correct p-values over a family of contrasts."""

from math import nan

import numpy as np
import scipy  # imports its parts on first use

from pipeline.comparison.intervals import Array, mean, standard_error, varies


def equivalence_p(differences: Array, margin: float) -> float:
    """Return p of two one-sided t tests (TOST) of the mean of differences (n,).

    Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987.

    Args:
        differences: The paired differences (n,).
        margin: The bound of equivalence, in the units of the differences.

    Returns:
        p, small where the mean lies between -margin and margin; NaN if the differences do not
        vary.
    """
    if not varies(differences):
        return nan
    error = np.array(standard_error(differences))
    freedom = np.array(len(differences) - 1)
    return float(t_equivalence_p(np.array(mean(differences)), error, freedom, margin))


def t_test_p(differences: Array, errors: Array, freedom: Array) -> Array:
    """Return two-sided p of t tests with given standard errors and degrees of freedom, all (n,).

    An error that is 0 or NaN has p NaN.

    Args:
        differences: Mean differences (n,).
        errors: Their standard errors (n,).
        freedom: Their degrees of freedom (n,).
    """
    positive_errors = np.where(errors > 0, errors, np.nan)
    p_values: Array = 2 * scipy.special.stdtr(freedom, -np.abs(differences) / positive_errors)
    return p_values


def t_equivalence_p(differences: Array, errors: Array, freedom: Array, margin: float) -> Array:
    """Return p of two one-sided t tests, as `equivalence_p`, with given errors, all (n,).

    Args:
        differences: Mean differences (n,).
        errors: Their standard errors (n,).
        freedom: Their degrees of freedom (n,).
        margin: The margin of equivalence, in the unit of the differences.
    """
    positive_errors = np.where(errors > 0, errors, np.nan)
    p_values: Array = scipy.special.stdtr(freedom, (np.abs(differences) - margin) / positive_errors)
    return p_values


def holm(p_values: Array) -> Array:
    """Return Holm's adjusted p-values (Holm, Scand. J. Statist. 6, 1979).

    The family is the planned tests: an undefined p-value counts as 1, so that a failed arm makes no
    other arm significant.

    Args:
        p_values: (tests,), in [0, 1] or NaN.

    Returns:
        (tests,), in the same order, in [0, 1] and not below the p-values; NaN stays NaN.
    """
    undefined = np.isnan(p_values)
    values = np.where(undefined, 1.0, p_values)
    order = np.argsort(values)
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1.0)
    return np.where(undefined, np.nan, adjusted)
