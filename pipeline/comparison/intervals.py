"""What a few paired differences say: their mean, its interval, and what they could have detected.

Separate from `significance.py`, which looks at all contrasts of a report at once: here is one contrast.
Everything is undefined (NaN) for fewer than two differences and for differences without spread; no
p-value is ever exactly 0 because nothing varied.
"""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.power import TTestPower

Array = NDArray[np.float64]
LEVEL = 0.05
POWER = 0.8
NEGLIGIBLE = 1e-9  # scores are stored with ten digits: a smaller spread is rounding


@dataclass(frozen=True)
class Interval:
    """The mean of n values, its 95 % Student-t interval, their standard deviation, and the p-value of a mean of 0."""

    mean: float
    low: float
    high: float
    sd: float
    p: float
    n: int


def interval(differences: Array) -> Interval:
    """Student-t interval and two-sided p of the mean difference (n,): the paired t test."""
    n, middle = len(differences), mean(differences)
    if not varies(differences):
        return Interval(middle, nan, nan, 0.0 if n > 1 and np.isfinite(middle) else nan, nan, n)
    test = stats.ttest_1samp(differences, 0.0)
    bounds = test.confidence_interval(1 - LEVEL)
    return Interval(middle, float(bounds.low), float(bounds.high), float(differences.std(ddof=1)), float(test.pvalue), n)


def equivalence_p(differences: Array, margin: float) -> float:
    """p of two one-sided t tests (TOST): small where the mean difference lies within -margin and margin.

    Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987.
    """
    if not varies(differences):
        return nan
    above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    return float(max(above, below))


def detectable(sd: float, n: int) -> float:
    """The smallest true mean difference that a paired two-sided t test at level 0.05 finds with 80 % power.

    `sd` is the standard deviation of the differences, n their number; the noncentral t does the rest.
    """
    if n < 2 or not sd > 0:
        return nan
    return sd * float(TTestPower().solve_power(nobs=n, alpha=LEVEL, power=POWER, alternative="two-sided"))


def correlation(first: Array, second: Array) -> float:
    """Pearson's correlation, -1 to 1; NaN where either does not vary."""
    return float(stats.pearsonr(first, second).statistic) if varies(first) and varies(second) else nan


def mean(values: Array) -> float:
    """The mean of (n,) values; NaN of none."""
    return float(values.mean()) if len(values) else nan


def varies(values: Array) -> bool:
    """Whether there are at least two values, all numbers, that differ by more than rounding."""
    return len(values) > 1 and bool(np.ptp(values) > NEGLIGIBLE)
