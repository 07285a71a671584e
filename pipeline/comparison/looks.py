"""Decide which arms stop at a look, on validation scores.

Whether an arm goes on is decided on validation scores, with the same corrections. An arm stops
where they have a verdict that test scores would have too, with at least 90 % chance. It stops for
futility where the last look would decide with less than 10 % chance if the present mean and spread
were the true ones: conditional power under the current trend (Lan and Wittes, The B-value,
Biometrics 44, 1988), here for a difference and for equivalence.

`look_tests.py` has the tests and their corrections.
"""

from collections.abc import Mapping, Sequence
from math import nan

import numpy as np
import pandas as pd

from pipeline.comparison.collapses import collapsed
from pipeline.comparison.family import Family, family
from pipeline.comparison.intervals import Array
from pipeline.comparison.look_tests import Integers, look_tests, outlook
from pipeline.comparison.matching import WHERE, Arm, Outcomes, compared
from pipeline.comparison.weights import looks_had
from pipeline.config.plan import Plan, PlannedLooks, Reason
from pipeline.planning.choice import Score

DECIDING = "validation_accuracy"  # the metric on which arms stop

Key = tuple[str, str]  # study, arm


def decide(plan: Plan, scores: Mapping[str, Score]) -> dict[Key, Reason | None]:
    """Return the reason why each compared arm stops at its last look; None if it continues.

    Pairs are those of a verdict: both runs are done, on equal machines, and the validation accuracy
    of neither has collapsed.

    Args:
        plan: A confirmation plan with looks.
        scores: The validation scores of its runs that have ended, by fingerprint.

    Raises:
        ValueError: The plan has no looks.
    """
    arms, looks = list(compared(plan)), looks_of(plan)
    tests = look_tests(deciding_differences(plan, arms, scores), looks.seeds, plan.margin)
    had = numbers_had(arms, looks)
    reasons = outlook(tests, looks, had, family_of(arms), plan.margin).reasons
    return {arm.key: reason for arm, reason in zip(arms, reasons, strict=True) if arm.runs}


def deciding_differences(plan: Plan, arms: Sequence[Arm], scores: Mapping[str, Score]) -> Array:
    """Return the differences of all arms in validation accuracy (arms, seeds).

    They are NaN where a pair is missing.

    Args:
        plan: A confirmation plan with looks.
        arms: Its compared arms.
        scores: The validation scores so far, by fingerprint.

    Raises:
        ValueError: The plan has no looks.
    """
    rules = {
        run.fingerprint: one.rule(DECIDING)
        for one in with_references(arms)
        for run in one.runs.values()
    }
    available = {name: scores[name] for name in rules if name in scores}
    done = {
        name: score
        for name, score in available.items()
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
        collapsed=_collapsed(arms, done, plan.margin),
    )
    return seed_differences(arms, measured, DECIDING, looks_of(plan).seeds[-1])


def seed_differences(arms: Sequence[Arm], outcomes: Outcomes, metric: str, seeds: int) -> Array:
    """Return the differences of all arms in a metric (arms, seeds), NaN where a pair is missing.

    Args:
        arms: The compared arms.
        outcomes: States, machines and scores of their runs.
        metric: A metric of `Outcomes.values`.
        seeds: The number of seeds of the last look.
    """
    differences = np.full((len(arms), seeds), nan)
    for number, arm in enumerate(arms):
        places = {run.fingerprint: place for place, run in enumerate(arm.runs.values())}
        sides, _ = outcomes.sides(arm.pair())
        for side in sides:
            reference, score = outcomes.values([side], arm.pair(), metric)
            if len(score):
                differences[number, places[side[-1]]] = float(score[0] - reference[0])
    return differences


def _collapsed(arms: Sequence[Arm], scores: Mapping[str, Score], margin: float) -> frozenset[str]:
    """Return the runs whose validation accuracy has collapsed."""
    distinct = {one.identity: one for one in with_references(arms)}
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


def with_references(arms: Sequence[Arm]) -> list[Arm]:
    """Return every arm after its reference; a reference appears once for each.

    Args:
        arms: The compared arms.
    """
    return [one for arm in arms for one in arm.pair()]


def numbers_had(arms: Sequence[Arm], looks: PlannedLooks) -> Integers:
    """Return the number of looks that each arm has had (arms,).

    Args:
        arms: The compared arms.
        looks: The looks of the plan.
    """
    return np.array([looks_had(arm, looks) for arm in arms])


def looks_of(plan: Plan) -> PlannedLooks:
    """Return the looks of a plan.

    Args:
        plan: A confirmation plan with looks.

    Raises:
        ValueError: It has none.
    """
    if plan.looks is None:
        raise ValueError("a plan without looks; expected one whose arms may stop at looks")
    return plan.looks


def family_of(arms: Sequence[Arm]) -> Family:
    """Return the family of the contrasts of some arms.

    Args:
        arms: The compared arms.
    """
    return family([tuple(one.identity for one in arm.pair()) for arm in arms])
