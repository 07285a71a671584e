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
COLUMNS = (
    *("study", "arm", "look", "seeds", "weight", "level", "n", "difference", "p", "p_weighted"),
    *("validation_n", "validation_difference", "validation_p_holm"),
    *("validation_p_equivalence", "likely", "chance", "stopped"),
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
    found = []
    for count in looks.seeds[: looks_had(arm, looks)]:
        first = set(runs[:count])
        found.append([side for side in sides if side[-1] in first])
    return found, looks.weights[: len(found)]


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
    rows = []
    for count in seeds:
        values = differences[:, :count]
        known = np.isfinite(values)
        n = known.sum(axis=1).astype(float)
        several = np.where(n > 1, n, nan)
        filled = np.where(known, values, 0.0)
        mean = filled.sum(axis=1) / np.where(n > 0, n, nan)
        squares = np.where(known, (values - mean[:, None]) ** 2, 0.0).sum(axis=1)
        sd = np.sqrt(squares / (several - 1))
        error = np.where(sd > NEGLIGIBLE, sd, nan) / np.sqrt(several)
        p_values = t_test_p(mean, error, several - 1)
        rows.append((n, mean, sd, p_values, t_equivalence_p(mean, error, several - 1, margin)))
    return Tests(*(np.array(column) for column in zip(*rows, strict=True)))


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
    numbers = np.arange(len(weights))[:, None]
    last = np.take_along_axis(tests.mean, had[None] - 1, axis=0)
    is_last = numbers == had - 1
    counts = (numbers < had) & (is_last | (tests.mean * last > 0))
    within = (numbers < had) & (is_last | (np.abs(last) < margin))
    of_looks = np.array(weights)[:, None]
    found = []
    for p_values, counted in ((tests.p, counts), (tests.p_equivalence, within)):
        known = np.where(counted & ~np.isnan(p_values), p_values / of_looks, np.inf)
        least = known.min(axis=0)
        found.append(np.where(np.isinf(least), nan, np.minimum(least, 1.0)))
    return found[0], found[1]


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
    adjusted, p_equivalence = (corrected.holm(p) for p in weighted)
    place = had[None] - 1
    n, mean, sd = (
        np.take_along_axis(column, place, axis=0)[0] for column in (tests.n, tests.mean, tests.sd)
    )
    left, unequal = (
        sum(not p[number] < LEVEL for number in corrected.counted)
        for p in (adjusted, p_equivalence)
    )
    most = max(len(corrected.counted), 1)
    now, last = LEVEL * np.array(looks.weights)[had - 1], LEVEL * looks.weights[-1]
    count = np.full(len(had), float(looks.seeds[-1]))
    to_come = sd * np.sqrt(np.maximum(count - n, 0)) / count
    other = sd * np.sqrt(2 / np.maximum(n, 1))
    equal, differing = (now / min(number + 1, most) for number in (unequal, left))
    likely = decision_chance(mean, other, n, sd, equal, differing, margin)
    likely = np.where(corrected.same_runs, 1.0, likely)
    at_last = [last / max(number, 1) for number in (unequal, left)]
    chance = decision_chance(mean, to_come, count, sd, at_last[0], at_last[1], margin)
    judged = corrected.verdicts(mean, adjusted, p_equivalence)
    at_end = had == len(looks.seeds)
    numbers = zip(judged, n, likely, chance, at_end, strict=True)
    reasons = [_reason(verdict, *values) for (verdict, _), *values in numbers]
    return Outlook(adjusted, p_equivalence, likely, chance, reasons)


def _reason(
    verdict: Verdict, n: float, likely: float, chance: float, at_end: bool
) -> Reason | None:
    if verdict != Verdict.INCONCLUSIVE and not likely < LIKELY:
        return "equivalent" if verdict == Verdict.EQUIVALENT else "difference"
    if at_end:
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
    with np.errstate(divide="ignore", invalid="ignore"):

        def below(value: Array) -> Array:
            reached: Array = scipy.special.ndtr((value - mean) / spread)
            return reached

        chance: Array = 1 - below(far) + below(-far) + below(near) - below(-near)
    return chance


def decide(plan: Plan, scores: Mapping[str, Score]) -> dict[Key, Reason | None]:
    """Return why each compared arm stops at its last look; None for one that goes on.

    Pairs are those of a verdict: both runs are done, on equal machines, and the validation accuracy
    of neither has collapsed.

    Args:
        plan: A confirmation plan with looks.
        scores: The validation scores of its runs that have ended, by fingerprint.
    """
    arms, looks = list(compared(plan)), _looks(plan)
    differences = _decided(arms, scores, plan.margin)
    found = _outlook(plan, arms, differences, _had(arms, looks))
    return {arm.key: reason for arm, reason in zip(arms, found.reasons, strict=True) if arm.runs}


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
    looks, arms = _looks(plan), list(compared(plan))
    generator = np.random.default_rng(0)
    rows = [(run.study, run.arm, run.round or 0, run.fingerprint) for run in plan.runs]
    counts = []
    for _ in range(DRAWS):
        noise: dict[Any, Array] = {}
        for one in (side for arm in arms for side in arm.pair()):
            noise.setdefault(one.identity, generator.normal(size=looks.seeds[-1]))
        values = np.array(
            [
                effects.get(arm.key, 0.0)
                + (noise[arm.identity] - noise[arm.pair()[0].identity]) * spread / np.sqrt(2)
                for arm in arms
            ]
        )
        tests = look_tests(values, looks.seeds, plan.margin)
        reached: dict[Key, int] = {}
        for look in range(1, len(looks.seeds)):
            had = np.array([reached.get(arm.key, 1) for arm in arms])
            found = outlook(tests, looks, had, _family(arms), plan.margin).reasons
            on = [
                arm.key
                for arm, reason, number in zip(arms, found, had, strict=True)
                if number == look and reason is None
            ]
            reached |= dict.fromkeys(plan.with_needed(on), look + 1)
        kept = {name for study, arm, look, name in rows if look <= reached.get((study, arm), 1)}
        counts.append(len(kept))
    return float(np.mean(counts))


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
    tested = look_tests(
        _matrix(_differences(arms, outcomes, PRIMARY), looks.seeds[-1]), looks.seeds, plan.margin
    )
    stops = {(stop.study, stop.arm): stop for stop in looks.stops}
    decisions, decided_looks = _replayed(plan, arms, outcomes)
    rows = []
    for look, (seeds, weight) in enumerate(zip(looks.seeds, looks.weights, strict=True)):
        decided, found = decisions[look]
        for number, arm in enumerate(arms):
            if look >= had[number] or not arm.runs:
                continue
            stop = stops.get(arm.key)
            was_decided = look < decided_looks[number]
            is_before_last = look + 1 < len(looks.seeds)
            rows.append(
                {
                    "study": arm.study.name,
                    "arm": arm.described.name,
                    "look": look + 1,
                    "seeds": seeds,
                    "weight": weight,
                    "level": 1 - LEVEL * weight,
                    "n": int(tested.n[look, number]),
                    "difference": tested.mean[look, number],
                    "p": tested.p[look, number],
                    "p_weighted": min(tested.p[look, number] / weight, 1.0),
                    "validation_n": int(decided.n[look, number]),
                    "validation_difference": decided.mean[look, number],
                    "validation_p_holm": found.p_holm[number] if was_decided else nan,
                    "validation_p_equivalence": found.p_equivalence[number] if was_decided else nan,
                    "likely": found.likely[number] if was_decided else nan,
                    "chance": found.chance[number] if was_decided and is_before_last else nan,
                    "stopped": stop.reason if stop and stop.look == look + 1 else "",
                }
            )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = {arm.key: number for number, arm in enumerate(arms)}
    places = [order[key] for key in zip(table["study"], table["arm"], strict=True)]
    return table.iloc[np.lexsort((table["look"], places))].reset_index(drop=True)


def _replayed(
    plan: Plan, arms: Sequence[Arm], outcomes: Outcomes
) -> tuple[list[tuple[Tests, Outlook]], Integers]:
    """Return what validation scores said at every look, and how many looks each arm had by them.

    Looks that `gapwise resolve` asked for came after all others, so that no decision knew them.
    """
    looks = _looks(plan)
    had = _had(arms, looks)
    asked_keys = {(stop.study, stop.arm) for stop in looks.stops if stop.reason == "asked"}
    asked = np.array([arm.key in asked_keys for arm in arms], dtype=bool)
    reached = np.where(asked, 1, had)
    decisions = []
    for look, seeds in enumerate(looks.seeds, start=1):
        differences = _decided(arms, _validation_scores(arms, outcomes, seeds), plan.margin)
        tests = look_tests(_matrix(differences, looks.seeds[-1]), looks.seeds, plan.margin)
        found = outlook(tests, looks, np.minimum(reached, look), _family(arms), plan.margin)
        decisions.append((tests, found))
        on = [
            arm.key
            for number, arm in enumerate(arms)
            if (found.reasons[number] is None if asked[number] else had[number] > look)
            and reached[number] >= look
        ]
        needed = plan.with_needed(on)
        for number, arm in enumerate(arms):
            if asked[number] and reached[number] == look < had[number] and arm.key in needed:
                reached[number] += 1
    return decisions, reached


def _validation_scores(arms: Sequence[Arm], outcomes: Outcomes, seeds: int) -> dict[str, Score]:
    """Return the validation scores that were known at a look: later runs did not exist.

    Args:
        arms: The compared arms.
        outcomes: States, machines and scores of their runs.
        seeds: The seeds of the look.
    """
    scores = {}
    for one in (side for arm in arms for side in arm.pair()):
        rule = one.rule(DECIDING)
        for run in list(one.runs.values())[:seeds]:
            name = run.fingerprint
            value = outcomes.scores.get((name, rule.view, rule.members, *WHERE[DECIDING]))
            if outcomes.states[name] == "done" and value is not None:
                scores[name] = Score("done", value, machine=outcomes.kinds[name])
    return scores


def _decided(
    arms: Sequence[Arm], scores: Mapping[str, Score], margin: float
) -> list[dict[int, float]]:
    """Return the differences in validation accuracy of every arm by the place of their seed.

    Args:
        arms: The compared arms.
        scores: The validation scores that are known, by fingerprint.
        margin: The margin of equivalence.
    """
    runs = {
        run.fingerprint: one.rule(DECIDING)
        for arm in arms
        for one in arm.pair()
        for run in one.runs.values()
    }
    done = {
        name: scores[name]
        for name in runs
        if name in scores and scores[name].state == "done" and np.isfinite(scores[name].accuracy)
    }
    known = Outcomes(
        states={name: "done" if name in done else "missing" for name in runs},
        kinds={name: score.machine for name, score in done.items()},
        scores={
            (name, runs[name].view, runs[name].members, *WHERE[DECIDING]): score.accuracy
            for name, score in done.items()
        },
        collapsed=_collapsed(arms, done, margin),
    )
    return _differences(arms, known, DECIDING)


def _differences(arms: Sequence[Arm], outcomes: Outcomes, metric: str) -> list[dict[int, float]]:
    """Return the differences of every arm in a metric by the place of their seed."""
    found = []
    for arm in arms:
        sides, _ = outcomes.sides(arm.pair())
        places = {run.fingerprint: place for place, run in enumerate(arm.runs.values())}
        values = {}
        for side in sides:
            reference, own = outcomes.values([side], arm.pair(), metric)
            if len(own):
                values[places[side[-1]]] = float(own[0] - reference[0])
        found.append(values)
    return found


def _collapsed(arms: Sequence[Arm], scores: Mapping[str, Score], margin: float) -> frozenset[str]:
    """Return the runs whose validation accuracy has collapsed."""
    sides = {one.identity: one for arm in arms for one in arm.pair()}
    rows = [
        (number, seed, run.fingerprint, scores[run.fingerprint].accuracy)
        for number, one in enumerate(sides.values())
        for seed, run in one.runs.items()
        if run.fingerprint in scores
    ]
    runs = pd.DataFrame(rows, columns=["arm", "seed", "fingerprint", "score"])
    return frozenset(runs.loc[collapsed(runs, margin), "fingerprint"]) if rows else frozenset()


def _matrix(values: Sequence[Mapping[int, float]], seeds: int) -> Array:
    """Return differences (arms, seeds), NaN where a pair is missing."""
    table = np.full((len(values), seeds), nan)
    for row, of_arm in enumerate(values):
        for place, value in of_arm.items():
            table[row, place] = value
    return table


def _outlook(
    plan: Plan, arms: Sequence[Arm], values: Sequence[Mapping[int, float]], had: Integers
) -> Outlook:
    looks = _looks(plan)
    tests = look_tests(_matrix(values, looks.seeds[-1]), looks.seeds, plan.margin)
    return outlook(tests, looks, had, _family(arms), plan.margin)


def _had(arms: Sequence[Arm], looks: PlannedLooks) -> Integers:
    return np.array([looks_had(arm, looks) for arm in arms])


def _looks(plan: Plan) -> PlannedLooks:
    if plan.looks is None:
        raise ValueError("a plan without looks; expected one whose arms may stop at looks")
    return plan.looks


def _family(arms: Sequence[Arm]) -> Family:
    return family([tuple(one.identity for one in arm.pair()) for arm in arms])
