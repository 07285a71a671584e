"""Correct tests for looks at growing numbers of seeds, and compute the chance of a decision.

Look k has a weight w_k, and the weights sum to 1. The smallest p_k / w_k of the looks that an arm
has had is a valid p however it was decided to stop: by the union bound, the chance that p_k / w_k
is at most a at any look is at most the sum of the w_k a. So Holm's procedure stays valid over arms
that stop at different looks, and so does an interval at level 1 - 0.05 w_k at look k.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import scipy  # imports its parts on first use
from numpy.typing import NDArray

from pipeline.comparison.family import Family
from pipeline.comparison.intervals import NEGLIGIBLE, Array
from pipeline.comparison.levels import FUTILE, LEVEL, LIKELY
from pipeline.comparison.matching import Arm, Side
from pipeline.comparison.significance import t_equivalence_p, t_test_p
from pipeline.comparison.verdicts import Verdict
from pipeline.comparison.weights import looks_had
from pipeline.config.plan import PlannedLooks, Reason

Integers = NDArray[np.integer[Any]]


def sides_by_look(
    arm: Arm, sides: Sequence[Side], looks: PlannedLooks | None
) -> tuple[list[list[Side]], tuple[float, ...]]:
    """Return the compared runs at each look that an arm has had, and the weights of these looks.

    Args:
        arm: The arm.
        sides: Its pairs of runs, the arm's own last.
        looks: The looks of the plan; None for one number of seeds, which is one look of weight 1.
    """
    if looks is None:
        return [list(sides)], (1.0,)
    runs = [run.fingerprint for run in arm.runs.values()]
    had = looks_had(arm, looks)
    sides_of_looks = []
    for seeds in looks.seeds[:had]:
        first_runs = set(runs[:seeds])
        sides_of_looks.append([side for side in sides if side[-1] in first_runs])
    return sides_of_looks, looks.weights[:had]


@dataclass(frozen=True, eq=False)
class Tests:
    """The paired tests of all arms at all looks; all (looks, arms), NaN where undefined.

    Attributes:
        n: The number of pairs.
        mean: The mean difference.
        sd: The standard deviation of the differences.
        p: The two-sided p of the paired t test.
        p_equivalence: The p of two one-sided t tests.
    """

    n: Array
    mean: Array
    sd: Array
    p: Array
    p_equivalence: Array


def look_tests(differences: Array, seeds: Sequence[int], margin: float) -> Tests:
    """Return the tests of all arms at every look.

    Args:
        differences: (arms, seeds), NaN where a pair is missing.
        seeds: The number of seeds at each look.
        margin: The margin of equivalence, in the units of the differences.
    """
    looks = [_tests_of(differences[:, :count], margin) for count in seeds]
    return Tests(*(np.array(of_looks) for of_looks in zip(*looks, strict=True)))


def _tests_of(differences: Array, margin: float) -> tuple[Array, Array, Array, Array, Array]:
    """Return the fields of `Tests` at one look (arms,).

    Args:
        differences: The differences known at the look (arms, seeds), NaN where a pair is missing.
        margin: The margin of equivalence, in the units of the differences.
    """
    is_known = np.isfinite(differences)
    n = is_known.sum(axis=1).astype(float)
    total = np.where(is_known, differences, 0.0).sum(axis=1)
    mean = total / np.where(n > 0, n, nan)
    squares = np.where(is_known, (differences - mean[:, None]) ** 2, 0.0).sum(axis=1)
    freedom = np.where(n > 1, n, nan) - 1
    sd = np.sqrt(squares / freedom)
    error = np.where(sd > NEGLIGIBLE, sd, nan) / np.sqrt(freedom + 1)
    p = t_test_p(mean, error, freedom)
    p_equivalence = t_equivalence_p(mean, error, freedom, margin)
    return n, mean, sd, p, p_equivalence


def weighted_p(
    tests: Tests, weights: Sequence[float], had: Integers, margin: float
) -> tuple[Array, Array]:
    """Return p of a difference and of equivalence (arms,), corrected for the looks had.

    Which looks count is as for `look_statistics` and `look_equivalence`.

    Args:
        tests: The tests of all arms at every look.
        weights: The weights of the looks.
        had: The number of looks that each arm has had (arms,), from 1.
        margin: The margin of equivalence, in the units of the differences.
    """
    looks = np.arange(len(weights))[:, None]
    was_had, is_last = looks < had, looks == had - 1
    last_mean = np.take_along_axis(tests.mean, had[None] - 1, axis=0)
    has_sign_of_last = tests.mean * last_mean > 0
    is_last_within = np.abs(last_mean) < margin
    of_difference = was_had & (is_last | has_sign_of_last)
    of_equivalence = was_had & (is_last | is_last_within)
    return (
        _smallest_p(tests.p, weights, of_difference),
        _smallest_p(tests.p_equivalence, weights, of_equivalence),
    )


def _smallest_p(p_values: Array, weights: Sequence[float], counts: NDArray[np.bool_]) -> Array:
    """Return the smallest p / weight over the looks that count (arms,), at most 1.

    Args:
        p_values: The p of all arms at every look (looks, arms).
        weights: The weights of the looks.
        counts: Which looks count (looks, arms).

    Returns:
        The corrected p; NaN if p is undefined at every look that counts.
    """
    weighted = p_values / np.array(weights)[:, None]
    is_known = counts & ~np.isnan(p_values)
    smallest = np.where(is_known, weighted, np.inf).min(axis=0)
    corrected: Array = np.where(np.isinf(smallest), nan, np.minimum(smallest, 1.0))
    return corrected


@dataclass(frozen=True, eq=False)
class Outlook:
    """The outlook of every arm at its look, from validation scores; all (arms,).

    Attributes:
        p_holm: The p of a difference, corrected for looks and by Holm's procedure.
        p_equivalence: The p of equivalence, corrected in the same way.
        likely: The chance that test scores decide now.
        chance: The chance of a decision at the last look.
        reasons: Why the arm stops; None if it goes on.
    """

    p_holm: Array
    p_equivalence: Array
    likely: Array
    chance: Array
    reasons: list[Reason | None]


def outlook(
    tests: Tests, looks: PlannedLooks, had: Integers, corrected: Family, margin: float
) -> Outlook:
    """Return the outlook of every arm from the scores so far, and which arms stop.

    Args:
        tests: The tests of all arms at every look, on validation scores.
        looks: The looks of the plan.
        had: The number of looks that each arm has had (arms,), from 1.
        corrected: The family of the arms.
        margin: The margin of equivalence, in the units of the scores.
    """
    weighted = weighted_p(tests, looks.weights, had, margin)
    p_holm, p_equivalence = (corrected.holm(p) for p in weighted)
    at_look = had[None] - 1
    n, mean, sd = (
        np.take_along_axis(column, at_look, axis=0)[0] for column in (tests.n, tests.mean, tests.sd)
    )

    # Holm's procedure divides a level by the number of arms that are not decided yet
    most = max(len(corrected.representatives), 1)
    not_different = _undecided(p_holm, corrected)
    not_equivalent = _undecided(p_equivalence, corrected)

    spread_of_test = sd * np.sqrt(2 / np.maximum(n, 1))
    level = LEVEL * np.array(looks.weights)[had - 1]
    likely = decision_chance(
        mean,
        spread_of_test,
        n,
        sd,
        equivalence=level / min(not_equivalent + 1, most),
        level=level / min(not_different + 1, most),
        margin=margin,
    )
    likely = np.where(corrected.same_runs, 1.0, likely)

    last = np.full(len(had), float(looks.seeds[-1]))
    spread_of_last = sd * np.sqrt(np.maximum(last - n, 0)) / last
    last_level = LEVEL * looks.weights[-1]
    chance = decision_chance(
        mean,
        spread_of_last,
        last,
        sd,
        equivalence=last_level / max(not_equivalent, 1),
        level=last_level / max(not_different, 1),
        margin=margin,
    )

    verdicts = [verdict for verdict, _ in corrected.verdicts(mean, p_holm, p_equivalence)]
    is_at_end = had == len(looks.seeds)
    of_arms = zip(verdicts, n, likely, chance, is_at_end, strict=True)
    return Outlook(p_holm, p_equivalence, likely, chance, [_reason(*values) for values in of_arms])


def _undecided(p_values: Array, corrected: Family) -> int:
    """Return the number of contrasts of a family that are not significant after correction."""
    return sum(not p_values[number] < LEVEL for number in corrected.representatives)


def _reason(
    verdict: Verdict, n: float, likely: float, chance: float, is_at_end: bool
) -> Reason | None:
    """Return why an arm stops; None if it goes on."""
    if verdict != Verdict.INCONCLUSIVE and not likely < LIKELY:
        return "equivalent" if verdict == Verdict.EQUIVALENT else "difference"
    if is_at_end:
        return "last"
    return "futile" if n < 2 or chance < FUTILE else None


def decision_chance(
    mean: Array,
    spread: Array,
    count: Array,
    sd: Array,
    equivalence: float | Array,
    level: float | Array,
    margin: float,
) -> Array:
    """Return the chance that tests of `count` differences decide, if their mean is normal.

    They find a difference where that mean is at least t sd / sqrt(count) from 0, t at `level`
    (two-sided), and equivalence where it is nearer to 0 than the margin by t sd / sqrt(count), t at
    `equivalence` (one-sided).

    - At the last look: given n of N differences, the mean of all is normal around theirs, with
      variance sd^2 (N - n) / N^2. This is conditional power under the current trend (Lan and
      Wittes, Biometrics 44, 1988), in the units of the scores.
    - On test scores of the same n seeds: both means are of one truth and have the variance
      sd^2 / n, so one is normal around the other with twice that variance. Their correlation,
      which would make it smaller, is unknown before the test set is opened.

    Args:
        mean: What the mean is normal around (arms,).
        spread: Its standard deviation (arms,).
        count: The number of differences (arms,).
        sd: The standard deviation of a difference (arms,).
        equivalence: The level of each one-sided test of equivalence.
        level: The level of the two-sided test.
        margin: The margin of equivalence, in the units of the scores.

    Returns:
        The chance (arms,), 0 to 1; NaN if the differences do not vary.
    """
    error = np.where(sd > NEGLIGIBLE, sd, nan) / np.sqrt(np.maximum(count, 1))
    freedom = np.maximum(count, 2) - 1
    far = -scipy.special.stdtrit(freedom, np.divide(level, 2)) * error
    near = margin + scipy.special.stdtrit(freedom, equivalence) * error
    near = np.clip(near, 0.0, far)

    def below(bound: Array) -> Array:
        """Return the chance that the mean is below a bound."""
        chance: Array = scipy.special.ndtr((bound - mean) / spread)
        return chance

    with np.errstate(divide="ignore", invalid="ignore"):
        different = 1 - below(far) + below(-far)
        decided: Array = different + below(near) - below(-near)
    return decided
