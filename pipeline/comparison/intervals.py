"""What a few paired differences say: their mean, its interval, and what they could have detected.

Separate from `significance.py`, which looks at all contrasts of a report at once: here is one contrast.
Student's t is undefined (NaN) for fewer than two differences and for differences without spread; no
p-value is ever exactly 0 because nothing varied.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from math import inf, nan, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
LEVEL = 0.05
POWER = 0.8
NEGLIGIBLE = 1e-9  # scores are stored with ten digits: a smaller spread is rounding
TIE = 1e-6  # of the sum of absolute differences: sums closer than that are the same, for the same reason
MOST_SIGNS = 40  # 2 x 2^20 sums; more would take minutes
MOST_SEEDS = 10_000


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
    """Student-t interval and two-sided p of the mean difference (n,): the paired t test.

    It covers the truth 95 times in 100 where differences are normal, whatever n. Where they are skewed it
    covers less: exponential differences are covered 89 % of the time at n = 3, 88 % at 5, 90 % at 10, 92 % at
    20. The difference of two scores that are equally skewed is symmetric, and covered as stated.
    """
    n, middle = len(differences), mean(differences)
    if not varies(differences):
        return Interval(middle, nan, nan, 0.0 if n > 1 and np.isfinite(middle) else nan, nan, n)
    error = standard_error(differences)
    half = _critical(n, LEVEL) * error
    p = 2 * float(special.stdtr(n - 1, -abs(middle) / error))
    return Interval(middle, middle - half, middle + half, error * sqrt(n), p, n)


def equivalence_p(differences: Array, margin: float) -> float:
    """p of two one-sided t tests (TOST): small where the mean difference lies within -margin and margin.

    Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987. The larger of both p-values is that of the nearer side.
    """
    if not varies(differences):
        return nan
    beyond = (abs(mean(differences)) - margin) / standard_error(differences)
    return float(special.stdtr(len(differences) - 1, beyond))


def sign_flip_p(differences: Array) -> float:
    """Exact two-sided p of the mean difference (n,), 2 / 2^n to 1: the share of all 2^n choices of signs with as large a mean.

    Fisher, The Design of Experiments, 1935, section 21: it asks only that a difference is as likely up as down. Equal
    differences other than 0 do have a p, 2 / 2^n, for it looks at signs and not at spread. NaN for fewer than two
    differences, more than 40, any that is not a number, and where all are 0.
    """
    scale = float(np.abs(differences).sum())
    if not 2 <= len(differences) <= MOST_SIGNS or not NEGLIGIBLE < scale < inf:
        return nan
    least = abs(float(differences.sum())) - TIE * scale
    if least <= 0:
        return 1.0
    half = (
        len(differences) // 2
    )  # sums of all signs, from those of two halves: 2^20 twice instead of 2^40
    first, second = _signed_sums(differences[:half]), _signed_sums(differences[half:])
    above = len(first) * len(second) - int(np.searchsorted(second, least - first).sum())
    return float(
        2 * above / 2 ** len(differences)
    )  # as many sums are below -least, all signs being turned


def _signed_sums(values: Array) -> Array:
    """All 2^n sums of +-values, in rising order."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return np.sort(sums)


def detectable(sd: float, n: int, level: float) -> float:
    """The smallest true mean difference that a paired two-sided t test at that level finds with 80 % power.

    `sd` is the standard deviation of the differences, n their number, the level 0.05 or less; the noncentral t does
    the rest. NaN for fewer than two differences and where they do not vary.
    """
    return sd * _effect(n, level) if n > 1 and sd > 0 else nan


def seeds_needed(mean: float, sd: float, level: float) -> float:
    """The least number of pairs with which a true mean difference of the size of `mean` is found with 80 % power.

    By the paired two-sided t test at that level. inf for more than 10,000; NaN where sd is 0 or either is no number.
    """
    if not sd > 0 or not np.isfinite(mean):
        return nan
    numbers = range(2, MOST_SEEDS + 1)
    place = bisect_left(numbers, -abs(mean) / sd, key=lambda n: -_effect(n, level))
    return float(numbers[place]) if place < len(numbers) else inf


@cache
def _effect(n: int, level: float) -> float:
    """The mean over the standard deviation that n pairs find with 80 % power; the other tail is below 1e-5 of it.

    Inverted by scipy: the solver of statsmodels 0.15 stops early at small levels, with a power of 4 % called 80 %.
    """
    return float(special.nctdtrinc(n - 1, 1 - POWER, _critical(n, level))) / sqrt(n)


@cache
def _critical(n: int, level: float) -> float:
    """What |t| of n differences has to exceed in a two-sided test at that level."""
    return -float(special.stdtrit(n - 1, level / 2))


def standard_error(values: Array) -> float:
    """The standard error of the mean of (n,) values; NaN of fewer than two."""
    return float(values.std(ddof=1)) / sqrt(len(values)) if len(values) > 1 else nan


def correlation(first: Array, second: Array) -> float:
    """Pearson's correlation, -1 to 1; NaN where either does not vary."""
    return float(np.corrcoef(first, second)[0, 1]) if varies(first) and varies(second) else nan


def mean(values: Array) -> float:
    """The mean of (n,) values; NaN of none."""
    return float(values.mean()) if len(values) else nan


def varies(values: Array) -> bool:
    """Whether there are at least two values, all numbers, that differ by more than rounding."""
    return len(values) > 1 and bool(np.ptp(values) > NEGLIGIBLE)
