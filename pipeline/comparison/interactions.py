"""Estimate interactions: the effect of two changes together minus the sum of their single effects.

An interaction takes four runs of a seed: with both changes, with either, with neither.
It carries no verdict.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import pandas as pd

from pipeline.comparison.intervals import Array, detectable_range, interval, mean, sign_flip_p
from pipeline.comparison.levels import LEVEL, PRIMARY
from pipeline.comparison.matching import Arm, Outcomes, compared, pretrainings
from pipeline.comparison.significance import holm
from pipeline.comparison.verdicts import LOST_RUNS
from pipeline.comparison.weights import last_weight, look_statistics, mean_over_seeds, smallest_p
from pipeline.config.plan import BASELINE, Plan
from pipeline.config.run import RunConfig

METRICS = ("test_accuracy", "test_nll", "gap")
DETECTABLE = ("detectable", "detectable_low", "detectable_high")
CHOSEN_BY = "validation_accuracy"  # the better part of a pair
PART = (
    *("n", "baseline_mean", "arm_mean", "difference", "low", "high", "low_all", "high_all"),
    *("low_images", "high_images"),
    *("p", "p_holm", "p_equivalence", "verdict", "below_margin", "withheld"),
    *("verdict_other_images", "repeats"),
    *DETECTABLE,
    *LOST_RUNS,
)
ESTIMATE = ("difference", "low", "high", "excludes_zero", "p", "p_sign_flip", *DETECTABLE)
COLUMNS = ("study", "arm", "first", "second", "metric", "n", "effect", "sum", *ESTIMATE, "p_holm")

Parts = Mapping[tuple[str, str], frozenset[str]]  # (study, arm) -> its changes to the baseline
Factorial = tuple[Arm, Arm, Arm, Arm]  # both, the first, the second, neither


def changes(config: RunConfig, baseline: RunConfig) -> frozenset[str]:
    """Return the regularizers and protocol values in which a run differs from the baseline.

    Args:
        config: The settings of the run.
        baseline: The settings of the baseline's run.

    Returns:
        One text for each change, equal for equal values; it is compared and never read.
    """
    return frozenset(_parts(config) - _parts(baseline))


def arm_changes(plan: Plan, read: Callable[[str], RunConfig | None]) -> Parts:
    """Return the `changes` of each arm against its study's baseline, by its first stored run.

    Args:
        plan: The confirmation plan.
        read: A function that returns the settings of a run by its fingerprint; None if it is not
            stored.
    """
    configs: dict[tuple[str, str], RunConfig] = {}
    sources: dict[tuple[str, str], str] = {}
    named = pretrainings(plan)
    for run in plan.runs_of("comparison"):
        if (run.study, run.arm) not in configs and (config := read(run.fingerprint)):
            configs[run.study, run.arm] = config
            sources[run.study, run.arm] = named[run.fingerprint]
    return {
        (study, arm): changes(config, configs[study, BASELINE])
        | _pretraining(sources[study, arm], sources[study, BASELINE])
        for (study, arm), config in configs.items()
        if (study, BASELINE) in configs
    }


def _pretraining(source: str, baseline: str) -> frozenset[str]:
    """Return the change of the start of a run."""
    return frozenset() if source == baseline else frozenset({f"start.from: {source}"})


def interactions(plan: Plan, outcomes: Outcomes, parts: Parts) -> pd.DataFrame:
    """Return one row per (study, arm, its two parts, metric).

    An arm has two parts where it changes exactly what two other arms change, with the same values,
    and all three are compared with the baseline. A seed counts where all four runs are done on
    equal machines. `effect` is the mean of arm minus baseline there, `sum` is the sum of both
    parts' effects, `difference` is effect minus sum, with interval and p, and whether the interval
    excludes 0; `p_holm` is corrected over the rows of the metric; `detectable` is the interaction
    that these seeds detect with 80 % power at level 0.05, with its range. Under looks all of it is
    corrected by the weight of the last look that all four arms have had.

    Args:
        plan: The confirmation plan.
        outcomes: States, machines and scores of its runs.
        parts: The `changes` of each arm.

    Returns:
        A table with `COLUMNS`; undefined numbers are NaN.

    Raises:
        Refusal: A run that is done has no score.
    """
    rows: list[dict[str, Any]] = []
    for factorial in _factorials(plan, parts):
        rows += _rows(factorial, outcomes, last_weight(factorial, plan.looks))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for _, same in table.groupby("metric", sort=False):
        table.loc[same.index, "p_holm"] = holm(same["p"].to_numpy(float))
    return table


def against_better_parts(plan: Plan, outcomes: Outcomes, parts: Parts) -> list[Arm]:
    """Return every arm of two parts, with the better part as its reference.

    The better part is the one with the higher mean validation accuracy over the seeds of
    confirmation that both have; no test score is read.

    Args:
        plan: The confirmation plan.
        outcomes: States, machines and scores of its runs.
        parts: The `changes` of each arm.

    Raises:
        Refusal: A run that is done has no validation score.
    """
    return [
        replace(both, against=_better(first, second, outcomes))
        for both, first, second, _ in _factorials(plan, parts)
    ]


def part_contrasts(rows: pd.DataFrame, arms: Sequence[Arm]) -> pd.DataFrame:
    """Return the contrasts of test accuracy with better parts: study, arm, `better` and `PART`.

    Args:
        rows: Those of the arms in `contrasts`, where they are corrected together with all others.
        arms: What `against_better_parts` returns.
    """
    primary = rows[rows["metric"] == PRIMARY].reset_index(drop=True)
    better = [arm.pair()[0].described.name for arm in arms]
    return primary.assign(better=better)[["study", "arm", "better", *PART]]


def _better(first: Arm, second: Arm, outcomes: Outcomes) -> Arm:
    sides, _ = outcomes.sides((first, second))
    one, other = outcomes.values(sides, (first, second), CHOSEN_BY)
    return second if mean(other) > mean(one) else first


def _factorials(plan: Plan, parts: Parts) -> Iterator[Factorial]:
    for _, group in groupby(compared(plan), key=lambda arm: arm.study.name):
        arms = {
            parts[arm.key]: arm
            for arm in group
            if arm.described.against == BASELINE and parts.get(arm.key)
        }
        order = {changed: number for number, changed in enumerate(arms)}
        for both, arm in arms.items():
            for first in arms:
                second = both - first
                if first < both and second in order and order[first] < order[second]:
                    yield arm, arms[first], arms[second], arm.pair()[0]


def _rows(factorial: Factorial, outcomes: Outcomes, weight: float) -> Iterator[dict[str, Any]]:
    sides, _ = outcomes.sides(factorial)
    arm, first, second, _ = (one.described.name for one in factorial)
    for metric in METRICS:
        both, one, other, neither = outcomes.values(sides, factorial, metric)
        differences = both - one - other + neither
        yield {
            "study": factorial[0].study.name,
            "arm": arm,
            "first": first,
            "second": second,
            "metric": metric,
            "n": len(differences),
            "effect": mean(both - neither),
            "sum": mean(one - neither) + mean(other - neither),
            **estimate(differences, weight),
        }


def estimate(differences: Array, weight: float) -> dict[str, Any]:
    """Return the statistics of an interaction, `ESTIMATE`.

    Args:
        differences: Its value at every seed (n,).
        weight: The weight of the last look that all arms have had, 1 without looks.
    """
    between = interval(differences)
    return {
        "difference": between.mean,
        **look_statistics([mean_over_seeds(differences)], [weight]),
        "p_sign_flip": smallest_p([sign_flip_p(differences)], [weight]),
        **detectable_range(between.sd, between.n, LEVEL * weight),
    }


def _parts(config: RunConfig) -> set[str]:
    values = config.model_dump(include={"data", "model", "training", "start"})
    protocol = [
        [f"{section}.{key}", value] for section in values for key, value in values[section].items()
    ]
    return {json.dumps(item, sort_keys=True) for item in (*config.regularizers, *protocol)}
