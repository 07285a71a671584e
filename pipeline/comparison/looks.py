"""Correct tests for looks at growing numbers of seeds, and decide which arms stop at a look.

Look k has a weight w_k, and the weights sum to 1. The smallest p_k / w_k of the looks that an arm
has had is a valid p however it was decided to stop: by the union bound, the chance that p_k / w_k
is at most a at any look is at most the sum of the w_k a. So Holm's procedure stays valid over arms
that stop at different looks, and so does an interval at level 1 - 0.05 w_k at look k.

Whether an arm goes on is decided on validation scores, with the same corrections. An arm stops
where they have a verdict that test scores would have too, with at least 90 % chance. It stops for
futility where the last look would decide with less than 10 % chance if the present mean and spread
were the true ones: conditional power under the current trend (Lan and Wittes, The B-value,
Biometrics 44, 1988), here for a difference and for equivalence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import pandas as pd
import scipy  # imports its parts on first use
from numpy.typing import NDArray

from pipeline.comparison.collapses import collapsed
from pipeline.comparison.family import Family, family
from pipeline.comparison.intervals import NEGLIGIBLE, Array
from pipeline.comparison.levels import FUTILE, LEVEL, LIKELY, PRIMARY
from pipeline.comparison.matching import WHERE, Arm, Outcomes, Side, compared
from pipeline.comparison.significance import t_equivalence_p, t_test_p
from pipeline.comparison.verdicts import Verdict
from pipeline.comparison.weights import looks_had
from pipeline.config.plan import Plan, PlannedLooks, Reason
from pipeline.planning.choice import Score

DECIDING = "validation_accuracy"  # the metric on which arms stop
DRAWS = 100  # of the simulation of expected runs
DECISION = ("validation_p_holm", "validation_p_equivalence", "likely", "chance")
COLUMNS = (
    *("study", "arm", "look", "seeds", "weight", "level", "n", "difference", "p", "p_weighted"),
    *("validation_n", "validation_difference", *DECISION, "stopped"),
)

Integers = NDArray[np.integer[Any]]
Key = tuple[str, str]  # study, arm


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
        differences: Those known at the look (arms, seeds), NaN where a pair is missing.
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
    """Return the smallest p over its weight of the looks that count (arms,), at most 1.

    Args:
        p_values: The p of all arms at every look (looks, arms).
        weights: The weights of the looks.
        counts: Which looks count (looks, arms).

    Returns:
        The corrected p; NaN where that of every look that counts is undefined.
    """
    weighted = p_values / np.array(weights)[:, None]
    is_known = counts & ~np.isnan(p_values)
    smallest = np.where(is_known, weighted, np.inf).min(axis=0)
    corrected: Array = np.where(np.isinf(smallest), nan, np.minimum(smallest, 1.0))
    return corrected


@dataclass(frozen=True, eq=False)
class Outlook:
    """What validation scores say of every arm at its look; all (arms,).

    Attributes:
        p_holm: The p of a difference, corrected for looks and by Holm's procedure.
        p_equivalence: The p of equivalence, corrected likewise.
        likely: The chance that test scores decide now.
        chance: The chance of a decision at the last look.
        reasons: Why the arm stops, None where it goes on.
    """

    p_holm: Array
    p_equivalence: Array
    likely: Array
    chance: Array
    reasons: list[Reason | None]


def outlook(
    tests: Tests, looks: PlannedLooks, had: Integers, corrected: Family, margin: float
) -> Outlook:
    """Return what the scores so far say of every arm, and which arms stop.

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
    most = max(len(corrected.counted), 1)
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
    """Return how many contrasts of a family are not significant, by their corrected p-values."""
    return sum(not p_values[number] < LEVEL for number in corrected.counted)


def _reason(
    verdict: Verdict, n: float, likely: float, chance: float, is_at_end: bool
) -> Reason | None:
    """Return why an arm stops, None where it goes on."""
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
        The chance (arms,), 0 to 1; NaN where the differences do not vary.
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


def decide(plan: Plan, scores: Mapping[str, Score]) -> dict[Key, Reason | None]:
    """Return why each compared arm stops at its last look; None for one that goes on.

    Pairs are those of a verdict: both runs are done, on equal machines, and the validation accuracy
    of neither has collapsed.

    Args:
        plan: A confirmation plan with looks.
        scores: The validation scores of its runs that have ended, by fingerprint.
    """
    arms, looks = list(compared(plan)), _looks(plan)
    differences = _matrix(_deciding_differences(arms, scores, plan.margin), looks.seeds[-1])
    tests = look_tests(differences, looks.seeds, plan.margin)
    reasons = outlook(tests, looks, _had(arms, looks), _family(arms), plan.margin).reasons
    return {arm.key: reason for arm, reason in zip(arms, reasons, strict=True) if arm.runs}


def explored_spread(tried: Sequence[Mapping[str, Any]]) -> float:
    """Return the standard deviation of a difference to the reference over seeds (fraction).

    It is pooled over all settings tried, so that two seeds suffice; NaN where none has two.

    Args:
        tried: The rows of the choice, with `changes`: the differences in validation accuracy by
            seed, None where one is unknown.
    """
    squares, freedom = 0.0, 0
    for row in tried:
        changes = np.array([value for value in row["changes"] if value is not None])
        if len(changes) > 1 and changes.any():  # the reference itself has none
            squares += float(((changes - changes.mean()) ** 2).sum())
            freedom += len(changes) - 1
    return float(np.sqrt(squares / freedom)) if freedom else nan


def expected_runs(plan: Plan, effects: Mapping[Key, float], spread: float) -> float:
    """Return how many runs looks are expected to take, by simulation with the planner's rules.

    Args:
        plan: The confirmation if every arm goes on to the last look.
        effects: The true differences in validation accuracy that are assumed; 0 for other arms.
        spread: The standard deviation of a difference over seeds, a fraction.
    """
    arms, seeds = list(compared(plan)), _looks(plan).seeds[-1]
    generator = np.random.default_rng(0)
    counts = []
    for _ in range(DRAWS):
        differences = _drawn_differences(arms, effects, spread, seeds, generator)
        counts.append(_runs_taken(plan, arms, differences))
    return float(np.mean(counts))


def _drawn_differences(
    arms: Sequence[Arm],
    effects: Mapping[Key, float],
    spread: float,
    seeds: int,
    generator: np.random.Generator,
) -> Array:
    """Return differences (arms, seeds) of random scores; arms with the same runs have the same."""
    noise: dict[Any, Array] = {}
    for one in _with_references(arms):
        noise.setdefault(one.identity, generator.normal(size=seeds))
    differences = []
    for arm in arms:
        reference, _ = arm.pair()
        by_chance = noise[arm.identity] - noise[reference.identity]  # of variance 2
        differences.append(effects.get(arm.key, 0.0) + by_chance * spread / np.sqrt(2))
    return np.array(differences)


def _runs_taken(plan: Plan, arms: Sequence[Arm], differences: Array) -> int:
    """Return the number of runs that looks take at these differences (arms, seeds)."""
    looks = _looks(plan)
    tests = look_tests(differences, looks.seeds, plan.margin)
    reached: dict[Key, int] = {}  # the last look of an arm, from 1, which all have
    for look in range(1, len(looks.seeds)):
        had = np.array([reached.get(arm.key, 1) for arm in arms])
        reasons = outlook(tests, looks, had, _family(arms), plan.margin).reasons
        going_on = [
            arm.key
            for arm, reason, number in zip(arms, reasons, had, strict=True)
            if number == look and reason is None
        ]
        reached |= dict.fromkeys(plan.with_needed(going_on), look + 1)
    taken = {
        run.fingerprint
        for run in plan.runs
        if (run.round or 0) <= reached.get((run.study, run.arm), 1)
    }
    return len(taken)


def look_table(plan: Plan, outcomes: Outcomes) -> pd.DataFrame:
    """Return one row for each compared arm and each look that it has had.

    Args:
        plan: The confirmation plan.
        outcomes: States, machines and scores of its runs.

    Returns:
        A table with `COLUMNS`, empty for a plan without looks: the seeds and the weight of the
        look, the level of its interval, pairs, difference (fraction) and p of test accuracy, and p
        over the weight; the same of validation accuracy, with the p after Holm's procedure and
        that of equivalence that decided, and the chances that test scores decide now and that the
        last look decides; `stopped` is the reason at the look where the arm stopped, else empty.
        Undefined numbers are NaN. At a look that `gapwise resolve` asked for, no validation score
        decided: the columns of the decision are NaN, and those of other arms are as they were
        before it was asked for.
    """
    if plan.looks is None:
        return pd.DataFrame(columns=list(COLUMNS))
    arms, looks = list(compared(plan)), plan.looks
    had = _had(arms, looks)
    differences = _matrix(_differences(arms, outcomes, PRIMARY), looks.seeds[-1])
    tested = look_tests(differences, looks.seeds, plan.margin)
    decisions, decided_looks = _replayed(plan, arms, outcomes)
    reasons = {(stop.study, stop.arm, stop.look): stop.reason for stop in looks.stops}
    rows = []
    for number, arm in enumerate(arms):
        if not arm.runs:
            continue
        for look in range(had[number]):
            validated, chances = decisions[look]
            weight, p = looks.weights[look], tested.p[look, number]
            decision = dict.fromkeys(DECISION, nan)
            if look < decided_looks[number]:
                decision = _decision(chances, number, is_last=look + 1 == len(looks.seeds))
            row = {
                "study": arm.study.name,
                "arm": arm.described.name,
                "look": look + 1,
                "seeds": looks.seeds[look],
                "weight": weight,
                "level": 1 - LEVEL * weight,
                "n": int(tested.n[look, number]),
                "difference": tested.mean[look, number],
                "p": p,
                "p_weighted": min(p / weight, 1.0),
                "validation_n": int(validated.n[look, number]),
                "validation_difference": validated.mean[look, number],
                **decision,
                "stopped": reasons.get((*arm.key, look + 1), ""),
            }
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _decision(chances: Outlook, number: int, is_last: bool) -> dict[str, float]:
    """Return what decided about an arm at a look, with the columns `DECISION`.

    Args:
        chances: What validation scores said of all arms at the look.
        number: The number of the arm.
        is_last: Whether it is the last look, after which there is nothing to find.
    """
    values = (
        chances.p_holm[number],
        chances.p_equivalence[number],
        chances.likely[number],
        nan if is_last else chances.chance[number],
    )
    return dict(zip(DECISION, values, strict=True))


def _replayed(
    plan: Plan, arms: Sequence[Arm], outcomes: Outcomes
) -> tuple[list[tuple[Tests, Outlook]], Integers]:
    """Return what validation scores said at every look, and how many looks each arm had by them.

    Looks that `gapwise resolve` asked for came after all others, so that no decision knew them.
    """
    looks = _looks(plan)
    had = _had(arms, looks)
    asked_for = {(stop.study, stop.arm) for stop in looks.stops if stop.reason == "asked"}
    is_asked = np.array([arm.key in asked_for for arm in arms], dtype=bool)
    reached = np.where(is_asked, 1, had)
    decisions = []
    for look, seeds in enumerate(looks.seeds, start=1):
        scores = _validation_scores(arms, outcomes, seeds)
        differences = _matrix(_deciding_differences(arms, scores, plan.margin), looks.seeds[-1])
        tests = look_tests(differences, looks.seeds, plan.margin)
        chances = outlook(tests, looks, np.minimum(reached, look), _family(arms), plan.margin)
        decisions.append((tests, chances))

        has_no_reason = np.array([reason is None for reason in chances.reasons], dtype=bool)
        goes_on = (reached >= look) & np.where(is_asked, has_no_reason, had > look)
        going_on = [arm.key for arm, one in zip(arms, goes_on, strict=True) if one]
        needed = plan.with_needed(going_on)
        is_needed = np.array([arm.key in needed for arm in arms], dtype=bool)
        reached[is_asked & is_needed & (reached == look) & (look < had)] += 1
    return decisions, reached


def _validation_scores(arms: Sequence[Arm], outcomes: Outcomes, seeds: int) -> dict[str, Score]:
    """Return the validation scores that were known at a look: later runs did not exist.

    Args:
        arms: The compared arms.
        outcomes: States, machines and scores of their runs.
        seeds: The seeds of the look.
    """
    scores = {}
    for one in _with_references(arms):
        rule = one.rule(DECIDING)
        for run in list(one.runs.values())[:seeds]:
            name = run.fingerprint
            value = outcomes.scores.get((name, rule.view, rule.members, *WHERE[DECIDING]))
            if outcomes.states[name] == "done" and value is not None:
                scores[name] = Score("done", value, machine=outcomes.kinds[name])
    return scores


def _deciding_differences(
    arms: Sequence[Arm], scores: Mapping[str, Score], margin: float
) -> list[dict[int, float]]:
    """Return the differences in validation accuracy of every arm by the place of their seed.

    Args:
        arms: The compared arms.
        scores: The validation scores that are known, by fingerprint.
        margin: The margin of equivalence.
    """
    rules = {
        run.fingerprint: one.rule(DECIDING)
        for one in _with_references(arms)
        for run in one.runs.values()
    }
    known = {name: scores[name] for name in rules if name in scores}
    done = {
        name: score
        for name, score in known.items()
        if score.state == "done" and np.isfinite(score.accuracy)
    }
    accuracies = {
        (name, rules[name].view, rules[name].members, *WHERE[DECIDING]): score.accuracy
        for name, score in done.items()
    }
    measured = Outcomes(
        states={name: "done" if name in done else "missing" for name in rules},
        kinds={name: score.machine for name, score in done.items()},
        scores=accuracies,
        collapsed=_collapsed(arms, done, margin),
    )
    return _differences(arms, measured, DECIDING)


def _differences(arms: Sequence[Arm], outcomes: Outcomes, metric: str) -> list[dict[int, float]]:
    """Return the differences of every arm in a metric by the place of their seed."""
    differences = []
    for arm in arms:
        places = {run.fingerprint: place for place, run in enumerate(arm.runs.values())}
        of_arm = {}
        sides, _ = outcomes.sides(arm.pair())
        for side in sides:
            reference, score = outcomes.values([side], arm.pair(), metric)
            if len(score):
                of_arm[places[side[-1]]] = float(score[0] - reference[0])
        differences.append(of_arm)
    return differences


def _collapsed(arms: Sequence[Arm], scores: Mapping[str, Score], margin: float) -> frozenset[str]:
    """Return the runs whose validation accuracy has collapsed."""
    distinct = {one.identity: one for one in _with_references(arms)}
    rows = [
        (number, seed, run.fingerprint, scores[run.fingerprint].accuracy)
        for number, one in enumerate(distinct.values())
        for seed, run in one.runs.items()
        if run.fingerprint in scores
    ]
    if not rows:
        return frozenset()
    runs = pd.DataFrame(rows, columns=["arm", "seed", "fingerprint", "score"])
    return frozenset(runs.loc[collapsed(runs, margin), "fingerprint"])


def _with_references(arms: Sequence[Arm]) -> list[Arm]:
    """Return every arm after what it is compared with; a reference appears once for each."""
    return [one for arm in arms for one in arm.pair()]


def _matrix(differences: Sequence[Mapping[int, float]], seeds: int) -> Array:
    """Return differences (arms, seeds), NaN where a pair is missing."""
    matrix = np.full((len(differences), seeds), nan)
    for row, of_arm in zip(matrix, differences, strict=True):
        for place, value in of_arm.items():
            row[place] = value
    return matrix


def _had(arms: Sequence[Arm], looks: PlannedLooks) -> Integers:
    return np.array([looks_had(arm, looks) for arm in arms])


def _looks(plan: Plan) -> PlannedLooks:
    if plan.looks is None:
        raise ValueError("a plan without looks; expected one whose arms may stop at looks")
    return plan.looks


def _family(arms: Sequence[Arm]) -> Family:
    return family([tuple(one.identity for one in arm.pair()) for arm in arms])
