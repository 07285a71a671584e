"""Tabulate the results of every look at a confirmation, and the decisions made there."""

from collections.abc import Sequence
from math import nan

import numpy as np
import pandas as pd

from pipeline.comparison.levels import LEVEL, PRIMARY
from pipeline.comparison.look_tests import Integers, Outlook, Tests, look_tests, outlook
from pipeline.comparison.looks import (
    DECIDING,
    deciding_differences,
    family_of,
    looks_of,
    numbers_had,
    seed_differences,
    with_references,
)
from pipeline.comparison.matching import WHERE, Arm, Outcomes, compared
from pipeline.config.plan import Plan
from pipeline.planning.choice import Score

DECISION = ("validation_p_holm", "validation_p_equivalence", "likely", "chance")
COLUMNS = (
    *("study", "arm", "look", "seeds", "weight", "level", "n", "difference", "p", "p_weighted"),
    *("validation_n", "validation_difference", *DECISION, "stopped"),
)


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

    Raises:
        Refusal: A run that is done has no score.
    """
    if plan.looks is None:
        return pd.DataFrame(columns=list(COLUMNS))
    arms, looks = list(compared(plan)), plan.looks
    had = numbers_had(arms, looks)
    differences = seed_differences(arms, outcomes, PRIMARY, looks.seeds[-1])
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
    """Return the values on which an arm was stopped or continued at a look: columns `DECISION`.

    Args:
        chances: The outlook of all arms at the look, from validation scores.
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
    """Return the decisions from validation scores at every look, and each arm's number of looks.

    Looks that `gapwise resolve` requested came after all others. No decision was based on them, so
    they are not counted.
    """
    looks = looks_of(plan)
    had = numbers_had(arms, looks)
    asked_for = {(stop.study, stop.arm) for stop in looks.stops if stop.reason == "asked"}
    is_asked = np.array([arm.key in asked_for for arm in arms], dtype=bool)
    reached = np.where(is_asked, 1, had)
    decisions = []
    for look, seeds in enumerate(looks.seeds, start=1):
        scores = _validation_scores(arms, outcomes, seeds)
        differences = deciding_differences(plan, arms, scores)
        tests = look_tests(differences, looks.seeds, plan.margin)
        chances = outlook(tests, looks, np.minimum(reached, look), family_of(arms), plan.margin)
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
    for one in with_references(arms):
        rule = one.rule(DECIDING)
        for run in list(one.runs.values())[:seeds]:
            name = run.fingerprint
            value = outcomes.scores.get((name, rule.view, rule.members, *WHERE[DECIDING]))
            if outcomes.states[name] == "done" and value is not None:
                scores[name] = Score("done", value, machine=outcomes.kinds[name])
    return scores
