"""Which runs stand side by side, and the scores that they have there.

Separate from `contrasts.py` and `interactions.py`, which compare two arms and four: what counts as the same
seed on the same kind of machine, and what a metric's name means, is one thing for both.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.intervals import Array
from pipeline.config.plan import BASELINE, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.config.test_rules import DETERMINISTIC
from pipeline.runtime.errors import Refusal

PRIMARY = "test_accuracy"
GAP_SPLIT = "train_validation"
SCORES = {  # name -> (split, metric), scored under each arm's own test rule
    "test_accuracy": ("test", "accuracy"),
    "validation_accuracy": ("validation", "accuracy"),
    "test_nll": ("test", "nll"),
    "validation_nll": ("validation", "nll"),
    "test_brier": ("test", "brier"),
    "validation_brier": ("validation", "brier"),
    "test_calibration_error": ("test", "calibration_error"),
    "validation_calibration_error": ("validation", "calibration_error"),
}
GAPS = {
    name: (GAP_SPLIT, name) for name in ("gap", "gap_noise", "gap_augmentation")
}  # scored deterministically
WHERE = SCORES | GAPS

Runs = Mapping[int, PlannedRun]  # by seed
Side = tuple[str, ...]  # fingerprints of runs that stand side by side, one of each arm


@dataclass(frozen=True)
class Arm:
    """One arm with its planned runs by seed; `against` is the arm that it is compared with."""

    study: PlannedStudy
    described: PlannedArm
    runs: Runs
    against: "Arm | None" = None

    @property
    def key(self) -> tuple[str, str]:
        """The names of its study and of itself."""
        return self.study.name, self.described.name

    def pair(self) -> tuple["Arm", "Arm"]:
        """The arm that it is compared with, and itself."""
        return (self.against or self), self

    def rule(self, metric: str) -> str:
        """The rule under which it is scored: its own, and none but the deterministic for the gap."""
        return DETERMINISTIC if metric in GAPS else self.described.rule


@dataclass(frozen=True)
class Outcomes:
    """What became of every planned run: its state, its kind of machine, and its score by (rule, split, metric)."""

    states: Mapping[str, str]
    kinds: Mapping[str, str]
    scores: Mapping[tuple[str, str, str, str], float]

    def side_by_side(self, arms: Sequence[Arm]) -> tuple[list[Side], int]:
        """One run of each arm for every seed of the first at which all are done, on one kind of machine, the commonest.

        Also how many seeds were left out for their machines alone.
        """
        seeds = [seed for seed in arms[0].runs if all(seed in arm.runs for arm in arms)]
        sides = [tuple(arm.runs[seed].fingerprint for arm in arms) for seed in seeds]
        done = [side for side in sides if all(self.states[run] == "done" for run in side)]
        kinds = [self._kind(side) for side in done]
        alike = Counter(kind for kind in kinds if kind)
        commonest = alike.most_common(1)[0][0] if alike else ""
        kept = [side for side, kind in zip(done, kinds, strict=True) if kind and kind == commonest]
        return kept, len(done) - len(kept)

    def values(self, sides: Sequence[Side], arms: Sequence[Arm], metric: str) -> Array:
        """Scores (arms, n); a seed with a score that is not a number is left out. Raises Refusal where one is missing."""
        split, name = WHERE[metric]
        rules = [arm.rule(metric) for arm in arms]
        try:
            found = [
                [self.scores[run, rule, split, name] for run, rule in zip(side, rules, strict=True)]
                for side in sides
            ]
        except KeyError as missing:
            run, rule, *_ = missing.args[0]
            raise Refusal(
                f"scores: no {name} ({split}, {rule}) for run {run}; needed is one for every run that is done"
            ) from None
        return finite(found, len(arms))

    def _kind(self, side: Side) -> str:
        """The kind of machine that all were made on; "" where there are several."""
        kinds = {self.kinds[run] for run in side}
        return kinds.pop() if len(kinds) == 1 else ""


def outcomes(
    scores: pd.DataFrame, states: Mapping[str, str], machines: Mapping[str, Any]
) -> Outcomes:
    """From the columns fingerprint, rule, split, metric, value, each planned run's state and what it was trained on."""
    keys = zip(
        *(scores[name].tolist() for name in ("fingerprint", "rule", "split", "metric")), strict=True
    )
    values = dict(zip(keys, scores["value"].astype(float).tolist(), strict=True))
    return Outcomes(
        states,
        {run: json.dumps(machine, sort_keys=True) for run, machine in machines.items()},
        values,
    )


def compared(plan: Plan) -> Iterator[Arm]:
    """Every arm that is compared with another, in the order of the plan."""
    runs: dict[tuple[str, str], dict[int, PlannedRun]] = {}
    for run in plan.runs:
        runs.setdefault((run.study, run.arm), {})[run.seed] = run
    for study in plan.studies:
        alone = {
            arm.name: Arm(study, arm, runs.get((study.name, arm.name), {})) for arm in study.arms
        }
        for name, arm in alone.items():
            if name != BASELINE:
                yield Arm(study, arm.described, arm.runs, alone[arm.described.against])


def finite(rows: Sequence[Sequence[float]], width: int) -> Array:
    """(width, n) from n rows of that width, without those that hold what is not a number."""
    table = np.array(rows, dtype=float).reshape(-1, width)
    kept: Array = table[np.isfinite(table).all(axis=1)].T
    return kept
