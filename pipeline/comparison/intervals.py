"""Compute statistics of a few paired differences: mean, interval, sign-flip test and power.

Student's t is undefined (NaN) for fewer than two differences and for differences without spread.
Its distribution is taken from `scipy.special`: `scipy.stats.t` calls the same functions, but takes
thirty times as long, and a report needs thousands of intervals.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from math import floor, inf, log2, nan, sqrt
from typing import Any

import numpy as np
import scipy  # imports its parts on first use
from numpy.typing import NDArray

from pipeline.comparison.levels import LEVEL, POWER, UNSURE

Array = NDArray[np.float64]
NEGLIGIBLE = 1e-9  # scores are stored with ten digits: a smaller spread is rounding
TIE = 1e-6  # share of the sum of absolute differences: closer sums are equal, up to rounding
MOST_SIGNS = 40  # 2 x 2^20 sums; more would take minutes
MOST_SEEDS = 10_000
RANK_SAMPLES = 4000  # samples for the power of signed ranks: within 1 % of the effect


@dataclass(frozen=True)
class Interval:
    """The mean of n values with its 95 % Student-t interval.

    Attributes:
        mean: The mean.
        low: The lower bound of the interval.
        high: The upper bound of the interval.
        sd: The standard deviation of the values.
        p: The two-sided p of a mean of 0.
        n: The number of values.
    """

    mean: float
    low: float
    high: float
    sd: float
    p: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Return whether 0 is outside the interval; False if there is none."""
        return self.low > 0 or self.high < 0


def interval(differences: Array) -> Interval:
    """Return the Student-t interval and two-sided p of the mean of differences.

    This is the paired t test. Coverage is 95 % for normal differences, at any n, and lower for
    skewed ones: of exponential differences 89 % at n = 3, 88 % at 5, 90 % at 10, 92 % at 20. The
    difference of two equally skewed scores is symmetric.

    Student, The Probable Error of a Mean, Biometrika 6, 1908.

    Args:
        differences: (n,).
    """
    n, middle = len(differences), mean(differences)
    if not varies(differences):
        return Interval(middle, nan, nan, 0.0 if n > 1 and np.isfinite(middle) else nan, nan, n)
    error = standard_error(differences)
    half = float(half_width(error, n))
    p = 2 * float(scipy.special.stdtr(n - 1, -abs(middle) / error))
    return Interval(middle, middle - half, middle + half, error * sqrt(n), p, n)


def half_width(
    error: float | Array, n: int | NDArray[np.integer[Any]], level: float | Array = LEVEL
) -> Array:
    """Return half of the Student-t interval of a mean.

    Args:
        error: The standard error of the mean, a number or (n,).
        n: The number of values, likewise.
        level: One minus the confidence, 0 to 1; 0.05 for a 95 % interval.

    Returns:
        The half, in the units of the error; NaN if the error is NaN, as for fewer than two
        values.
    """
    half: Array = -scipy.special.stdtrit(np.maximum(n, 2) - 1, level / 2) * error
    return half


def sign_flip_p(differences: Array) -> float:
    """Return the exact two-sided p-value of a mean of differences, by flipping their signs.

    It is the share of all 2^n choices of signs with a mean at least as large (Fisher, The Design of
    Experiments, 1935, section 21). The only assumption is that a difference is as likely to be
    positive as negative.

    Args:
        differences: (n,), in any unit.

    Returns:
        p in [2 / 2^n, 1]; 2 / 2^n for equal differences other than 0. NaN for fewer than two
        differences, for more than 40, if any is not finite, and if all are 0.
    """
    scale = float(np.abs(differences).sum())
    if not 2 <= len(differences) <= MOST_SIGNS or not NEGLIGIBLE < scale < inf:
        return nan
    least = abs(float(differences.sum())) - TIE * scale
    if least <= 0:
        return 1.0
    half = len(differences) // 2  # 2^20 sums of each half instead of 2^40 of all
    first, second = _signed_sums(differences[:half]), _signed_sums(differences[half:])
    above = len(first) * len(second) - int(np.searchsorted(second, least - first).sum())
    return float(2 * above / 2 ** len(differences))  # by symmetry as many sums are <= -least


def signed_rank(differences: Array, level: float = LEVEL) -> tuple[float, float, float, float]:
    """Return the median of all means of two differences, its exact interval, and p of no shift.

    This is Wilcoxon's signed-rank test (Biometrics Bulletin 1, 1945) with the estimate that belongs
    to it (Hodges and Lehmann, Annals of Mathematical Statistics 34, 1963): the largest differences
    count by their rank only. Differences of 0 keep their rank and have no sign (Pratt, JASA 54,
    1959).

    Args:
        differences: (n,), finite.
        level: One minus the confidence, 0 to 1.

    Returns:
        The estimate, both bounds and the two-sided p, exact with ties too. The bounds are NaN where
        n is too small for this confidence, as below six for 95 %; p is NaN where all differences
        are 0.
    """
    n = len(differences)
    if not n:
        return nan, nan, nan, nan
    first, second = np.triu_indices(n)
    means = np.sort((differences[first] + differences[second]) / 2)
    outside = int((np.cumsum(_rank_sums(np.arange(1, n + 1))) <= level / 2).sum())
    low, high = (float(means[outside - 1]), float(means[-outside])) if outside else (nan, nan)
    return float(np.median(means)), low, high, _signed_rank_p(differences)


def signed_rank_seeds(level: float) -> int:
    """Return the fewest differences of equal sign at which signed ranks can be significant.

    With n of them the smallest two-sided p is 2 / 2^n.

    Args:
        level: The level of the test, above 0 and below 1.
    """
    return floor(1 - log2(level)) + 1


def _signed_rank_p(differences: Array) -> float:
    """Return the exact two-sided p of signed ranks."""
    sizes = np.abs(differences)
    doubled = np.rint(2 * scipy.stats.rankdata(sizes)).astype(int)  # ranks of ties have halves
    acting = sizes > 0
    if not acting.any():
        return nan
    chances = _rank_sums(doubled[acting])
    positive = int(doubled[differences > 0].sum())
    tail = min(chances[: positive + 1].sum(), chances[positive:].sum())
    return min(1.0, 2 * float(tail))


def _rank_sums(ranks: NDArray[np.int64]) -> Array:
    """Return the chance of each sum of positive ranks, from 0 to the sum of all ranks."""
    chances = np.ones(1)
    for rank in ranks:
        moved = np.concatenate([np.zeros(rank), chances])
        chances = (np.pad(chances, (0, rank)) + moved) / 2
    return chances


def _signed_sums(values: Array) -> Array:
    """Return all 2^n sums of +-values, ascending."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return np.sort(sums)


def detectable(sd: float, n: int, level: float, is_ranked: bool = False) -> float:
    """Return the smallest true mean difference that a paired test detects with 80 % power.

    The power of the t test is that of the noncentral t distribution (Cohen, Statistical Power
    Analysis for the Behavioral Sciences, 1988); the other tail is neglected. That of signed ranks
    is simulated with normal differences.

    Args:
        sd: The standard deviation of the differences.
        n: Their number.
        level: The level of the two-sided test, at most 0.05.
        is_ranked: Whether the test is that of signed ranks, else the t test.

    Returns:
        The difference, in the units of `sd`; NaN for n < 2, where the differences do not vary, and
        where they are too few for signed ranks.
    """
    if n < 2 or not sd > 0:
        return nan
    return sd * (_rank_effect(n, level) if is_ranked else _effect(n, level))


def detectable_range(sd: float, n: int, level: float, is_ranked: bool = False) -> dict[str, float]:
    """Return `detectable`, and its range `detectable_low`, `detectable_high` by `spread_range`.

    Args:
        sd: The standard deviation of the paired differences.
        n: The number of seeds.
        level: The level of the test, such as 0.05 divided by the number of contrasts.
        is_ranked: Whether the test is that of signed ranks, else the t test.
    """
    middle = detectable(sd, n, level, is_ranked)
    low, high = (share * middle for share in spread_range(n))
    return {"detectable": middle, "detectable_low": low, "detectable_high": high}


def seeds_needed(mean: float, sd: float, level: float) -> float:
    """Return the smallest number of pairs that finds a true difference `mean` with 80 % power.

    Power is that of the noncentral t distribution (Cohen, Statistical Power Analysis for the
    Behavioral Sciences, 1988); the other tail is neglected.

    Args:
        mean: The difference.
        sd: The standard deviation of the differences, in the units of `mean`.
        level: The level of the two-sided paired t test, at most 0.05.

    Returns:
        The number; inf for more than 10,000 pairs; NaN if sd is 0 or either is not finite.
    """
    if not sd > 0 or not np.isfinite(mean):
        return nan
    numbers = range(2, MOST_SEEDS + 1)
    index = bisect_left(numbers, -abs(mean) / sd, key=lambda n: -_effect(n, level))
    return float(numbers[index]) if index < len(numbers) else inf


@cache
def spread_range(n: int) -> tuple[float, float]:
    """Return an 80 % interval of the true standard deviation, in multiples of the measured one.

    The multiples are at the 10 % and 90 % quantiles, by chi-square for normal differences. A
    detectable difference is proportional to the standard deviation, so this is its range too.

    Args:
        n: The number of differences; for fewer than two both are NaN.
    """
    if n < 2:
        return nan, nan
    tails = scipy.special.chdtri(n - 1, [UNSURE, 1 - UNSURE])  # upper tails
    least, most = np.sqrt((n - 1) / tails)
    return float(least), float(most)


@cache
def _effect(n: int, level: float) -> float:
    """Return the effect, mean over standard deviation, that n pairs find with 80 % power.

    The other tail is neglected (< 1e-5). The solver of statsmodels 0.15 stops early at small
    levels, at a power of 4 % instead of 80 %.
    """
    return float(scipy.special.nctdtrinc(n - 1, 1 - POWER, _critical(n, level))) / sqrt(n)


@cache
def _rank_effect(n: int, level: float) -> float:
    """Return the effect that signed ranks of n normal differences find with 80 % power.

    A shift is significant if it exceeds the negative lower bound of the interval of unshifted
    differences. The effect is therefore a quantile of this negative bound over samples. NaN for too
    few differences.
    """
    outside = int((2 * np.cumsum(_rank_sums(np.arange(1, n + 1))) < level).sum())
    if not outside:
        return nan
    first, second = np.triu_indices(n)
    bounds = []
    for values in np.random.default_rng(n).standard_normal((RANK_SAMPLES, n)):
        means = (values[first] + values[second]) / 2
        bounds.append(np.partition(means, outside - 1)[outside - 1])
    return float(np.quantile(np.negative(bounds), POWER))


@cache
def _critical(n: int, level: float) -> float:
    """Return the critical |t| of n differences in a two-sided test at that level."""
    return -float(scipy.special.stdtrit(n - 1, level / 2))


def standard_error(values: Array) -> float:
    """Return the standard error of a mean.

    Args:
        values: (n,).

    Returns:
        The standard deviation (n - 1 degrees of freedom) over sqrt(n), in the unit of the values;
        NaN for fewer than two values.
    """
    return float(values.std(ddof=1)) / sqrt(len(values)) if len(values) > 1 else nan


def total_error(seed_error: float, images: Array, disagreement: float, seeds: int) -> float:
    """Return the standard error of a difference in accuracy over seeds and test images together.

    With fresh seeds and other test images, the variance of the mean is the sum of the variances of
    seeds, of images, and of single predictions (their interaction). The spread over seeds and the
    spread over images both contain the interaction: it is subtracted once, as in a crossed analysis
    of variance. A bootstrap of seeds and images at once (Owen, Ann. Appl. Stat. 1, 2007) counts it
    three times.

    Args:
        seed_error: The standard error over seeds.
        images: The differences (images,) of the shares of seeds that are right.
        disagreement: The share of all predictions in which exactly one of the two is right.
        seeds: The number of seeds.

    Returns:
        The error, not below that of seeds or of images alone; NaN for fewer than two of either.
    """
    count = len(images)
    if seeds < 2 or count < 2:
        return nan
    of_seeds, of_images = seed_error**2, standard_error(images) ** 2
    explained = of_seeds * (seeds - 1) + float(images.var()) + mean(images) ** 2
    single = max(disagreement - explained, 0.0) / ((seeds - 1) * (count - 1))
    return sqrt(max(of_seeds + of_images - single, of_seeds, of_images))


def correlation(first: Array, second: Array) -> float:
    """Return Pearson's correlation of two arrays.

    Args:
        first: (n,).
        second: (n,).

    Returns:
        A number in [-1, 1]; NaN if either array does not vary.
    """
    return float(np.corrcoef(first, second)[0, 1]) if varies(first) and varies(second) else nan


def mean(values: Array) -> float:
    """Return the mean of values.

    Args:
        values: (n,); may contain NaN and infinity.

    Returns:
        The mean; NaN for no values, for any NaN, and for infinities of both signs.
    """
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        return float(values.mean()) if len(values) else nan


def varies(values: Array) -> bool:
    """Return whether there are two or more values, all finite, that differ by more than rounding.

    Args:
        values: (n,).
    """
    return len(values) > 1 and bool(np.isfinite(values).all() and np.ptp(values) > NEGLIGIBLE)
