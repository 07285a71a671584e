"""Compute the statistics of one contrast: the scores of an arm and its reference, by seed."""

from math import nan

from pipeline.comparison.intervals import (
    Array,
    correlation,
    detectable_range,
    half_width,
    interval,
    mean,
    seeds_needed,
    sign_flip_p,
    spread_range,
    standard_error,
)
from pipeline.comparison.levels import LEVEL
from pipeline.comparison.significance import equivalence_p

SEEDS_NEEDED = ("seeds_needed", "seeds_needed_low", "seeds_needed_high")


def paired_statistics(reference: Array, arm: Array) -> dict[str, float]:
    """Return means, difference, interval and p of the scores (n,) of two arms, paired by seed.

    Args:
        reference: The scores (n,) of the reference.
        arm: The scores (n,) of the arm at the same seeds.
    """
    differences = arm - reference
    between = interval(differences)
    return {
        "n": between.n,
        "baseline_mean": mean(reference),
        "arm_mean": mean(arm),
        "difference": between.mean,
        "low": between.low,
        "high": between.high,
        "excludes_zero": between.excludes_zero,
        "p": between.p,
        "p_sign_flip": sign_flip_p(differences),
        "correlation": correlation(reference, arm),
    }


def simultaneous(middle: float, error: float, n: int, level: float) -> dict[str, float]:
    """Return the interval that holds for all contrasts of a report at once (Bonferroni).

    It covers in 95 % of reports whichever arm is named for its result, as the best of many is.

    Dunn, Multiple Comparisons among Means, JASA 56, 1961.

    Args:
        middle: The mean difference.
        error: Its standard error.
        n: The number of differences.
        level: `LEVEL` divided by the number of contrasts.
    """
    half = float(half_width(error, n, level))
    return {"low_all": middle - half, "high_all": middle + half}


def judged_statistics(differences: Array, level: float, margin: float) -> dict[str, float]:
    """Return the statistics of a verdict besides `paired_statistics`.

    The difference that these pairs can detect is among them.

    Args:
        differences: The differences (n,), arm minus reference.
        level: The level of the hardest step of Holm's procedure.
        margin: The margin of equivalence, in the units of the differences.
    """
    between = interval(differences)
    error = standard_error(differences)
    usable_error = error if between.sd > 0 else nan
    half = float(half_width(usable_error, between.n, 2 * LEVEL))
    spreads = [share * between.sd for share in (1, *spread_range(between.n))]
    needed = (seeds_needed(between.mean, spread, level) for spread in spreads)
    return {
        "low_90": between.mean - half,
        "high_90": between.mean + half,
        **simultaneous(between.mean, usable_error, between.n, level),
        "p_equivalence": equivalence_p(differences, margin),
        **detectable_range(between.sd, between.n, level),
        **dict(zip(SEEDS_NEEDED, needed, strict=True)),
        "seed_error": error,
    }
