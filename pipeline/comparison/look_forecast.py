"""Forecast how many runs a confirmation with looks takes, from the spread of exploration."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np

from pipeline.comparison.intervals import Array
from pipeline.comparison.look_tests import look_tests, outlook
from pipeline.comparison.looks import Key, family_of, looks_of, with_references
from pipeline.comparison.matching import Arm, compared
from pipeline.config.plan import Plan

DRAWS = 100  # draws in the simulation of expected runs


def explored_spread(tried: Sequence[Mapping[str, Any]]) -> float:
    """Return the standard deviation of a difference to the reference over seeds (fraction).

    It is pooled over all settings tried, so that two seeds suffice; NaN if none has two.

    Args:
        tried: The rows of the choice, with `changes`: the differences in validation accuracy by
            seed; None if one is unknown.
    """
    squares, freedom = 0.0, 0
    for row in tried:
        changes = np.array([value for value in row["changes"] if value is not None])
        if len(changes) > 1 and changes.any():  # the reference itself has none
            squares += float(((changes - changes.mean()) ** 2).sum())
            freedom += len(changes) - 1
    return float(np.sqrt(squares / freedom)) if freedom else nan


def expected_runs(plan: Plan, effects: Mapping[Key, float], spread: float) -> float:
    """Return the expected number of runs under looks, by simulation with the planner's rules.

    Args:
        plan: The confirmation if every arm goes on to the last look.
        effects: The true differences in validation accuracy that are assumed (fractions), by study
            and arm; 0 for other arms.
        spread: The standard deviation of a difference over seeds, a fraction.

    Returns:
        The mean over `DRAWS` simulations.

    Raises:
        ValueError: The plan has no looks.
    """
    arms, seeds = list(compared(plan)), looks_of(plan).seeds[-1]
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
    """Return differences (arms, seeds) of random scores, equal for arms with the same runs."""
    noise: dict[Any, Array] = {}
    for one in with_references(arms):
        noise.setdefault(one.identity, generator.normal(size=seeds))
    differences = []
    for arm in arms:
        reference, _ = arm.pair()
        by_chance = noise[arm.identity] - noise[reference.identity]  # of variance 2
        differences.append(effects.get(arm.key, 0.0) + by_chance * spread / np.sqrt(2))
    return np.array(differences)


def _runs_taken(plan: Plan, arms: Sequence[Arm], differences: Array) -> int:
    """Return the number of runs under looks, given the differences (arms, seeds)."""
    looks = looks_of(plan)
    tests = look_tests(differences, looks.seeds, plan.margin)
    reached: dict[Key, int] = {}  # the last look of an arm, from 1, which all have
    for look in range(1, len(looks.seeds)):
        had = np.array([reached.get(arm.key, 1) for arm in arms])
        reasons = outlook(tests, looks, had, family_of(arms), plan.margin).reasons
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
