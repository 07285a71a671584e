"""Match the runs that are compared with each other, and find their scores."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.intervals import Array
from pipeline.comparison.levels import SCORES
from pipeline.comparison.verdicts import Losses
from pipeline.config.labels import format_rule
from pipeline.config.plan import BASELINE, Kind, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.config.test_rules import DETERMINISTIC, TestRule
from pipeline.evaluation.metrics import GAPS
from pipeline.evaluation.scores import GAP_SPLIT
from pipeline.records.runs import FINISHED
from pipeline.runtime.errors import Refusal

WHERE = SCORES | {name: (GAP_SPLIT, name) for name in GAPS}  # gaps are scored deterministically

Side = tuple[str, ...]  # fingerprints of runs that are compared, one of each arm


@dataclass(frozen=True)
class Arm:
    """One arm with its planned runs by seed, and the arm that it is compared with.

    Attributes:
        study: The study of the arm.
        described: The arm as planned.
        runs: Its planned runs by seed.
        against: The arm that it is compared with, None for a reference itself.
    """

    study: PlannedStudy
    described: PlannedArm
    runs: Mapping[int, PlannedRun]
    against: "Arm | None" = None

    @property
    def key(self) -> tuple[str, str]:
        """Return the names of the study and of the arm."""
        return self.study.name, self.described.name

    @property
    def identity(self) -> Any:
        """Return the runs of the arm and their test rule; for an arm without runs, its key."""
        runs = tuple(run.fingerprint for run in self.runs.values())
        return (runs, self.described.rule) if runs else self.key

    @property
    def is_its_reference(self) -> bool:
        """Return whether the arm has the same runs as its reference."""
        reference, arm = self.pair()
        return bool(reference.identity == arm.identity)

    def pair(self) -> tuple["Arm", "Arm"]:
        """Return the reference and the arm."""
        return (self.against or self), self

    def rule(self, metric: str) -> TestRule:
        """Return the rule under which it is scored; parts of the gap are always deterministic.

        Args:
            metric: A key of `WHERE`.
        """
        return DETERMINISTIC if metric in GAPS else self.described.rule


@dataclass(frozen=True)
class Outcomes:
    """The state, the kind of machine and the scores of every planned run.

    Attributes:
        states: State by fingerprint.
        kinds: The machine of a run's training, by fingerprint; equal texts for equal machines.
        scores: Value by (fingerprint, view, members, split, metric).
        collapsed: The runs that are done, but far below the other runs of their arm.
    """

    states: Mapping[str, str]
    kinds: Mapping[str, str]
    scores: Mapping[tuple[str, str, int, str, str], float]
    collapsed: frozenset[str] = frozenset()

    def sides(self, arms: Sequence[Arm]) -> tuple[list[Side], int]:
        """Return one run of each arm for every seed at which all are done, on equal machines.

        Of several kinds of machine the most common one counts. A seed at which a run collapsed is
        left out for all arms.

        Args:
            arms: The arms that are compared, the reference first.

        Returns:
            The sides, in the order of the first arm's seeds, and the number of seeds left out for
            their machines alone.
        """
        alike, other_machine = self._alike(arms)
        return [side for side in alike if not self.collapsed.intersection(side)], other_machine

    def losses(self, arm: Arm) -> Losses:
        """Return the numbers of lost runs of an arm and its reference, on any machine.

        Seeds count that are planned for both.

        Args:
            arm: An arm with a reference.
        """
        sides = _all_sides(arm.pair())
        return Losses.count(_marked(sides, self._is_lost), _marked(sides, self._has_ended))

    def lost_pairs(self, arms: Sequence[Arm]) -> int:
        """Return the number of seeds that are left out because a run collapsed or diverged.

        Args:
            arms: The arms that are compared, the reference first.
        """
        alike, _ = self._alike(arms)
        collapsed = [side for side in alike if self.collapsed.intersection(side)]
        ended = [side for side in _all_sides(arms) if all(map(self._has_ended, side))]
        diverged = [side for side in ended if any(map(self._has_diverged, side))]
        return len(collapsed) + len(diverged)

    def _alike(self, arms: Sequence[Arm]) -> tuple[list[Side], int]:
        """Return the sides with done runs on the most common machine, and the number of others."""
        done = [side for side in _all_sides(arms) if all(map(self._is_done, side))]
        kinds = Counter(filter(None, map(self._kind, done)))
        if not kinds:
            return [], len(done)
        [(most_common, _)] = kinds.most_common(1)
        kept = [side for side in done if self._kind(side) == most_common]
        return kept, len(done) - len(kept)

    def _is_done(self, run: str) -> bool:
        return self.states[run] == "done"

    def _has_diverged(self, run: str) -> bool:
        return self.states[run] == "diverged"

    def _has_ended(self, run: str) -> bool:
        return self.states[run] in FINISHED

    def _is_lost(self, run: str) -> bool:
        return run in self.collapsed or self._has_diverged(run)

    def values(self, sides: Sequence[Side], arms: Sequence[Arm], metric: str) -> Array:
        """Return scores (arms, n); a seed with a score that is not a number is left out.

        Args:
            sides: One run of each arm for every seed, as `sides` returns them.
            arms: The arms, in the same order.
            metric: A key of `WHERE`.

        Raises:
            Refusal: A score is missing.
        """
        split, name = WHERE[metric]
        rules = [arm.rule(metric) for arm in arms]
        rows = []
        for side in sides:
            keys = [
                (run, rule.view, rule.members, split, name)
                for run, rule in zip(side, rules, strict=True)
            ]
            rows.append([self._score(*key) for key in keys])
        return finite(rows, len(arms))

    def _score(self, run: str, view: str, members: int, split: str, metric: str) -> float:
        try:
            return self.scores[run, view, members, split, metric]
        except KeyError:
            rule = format_rule(TestRule(view=view, members=members))
            raise Refusal(
                f"scores: {run}: {metric} ({split}, {rule}): missing; "
                "expected one for every run that is done"
            ) from None

    def _kind(self, side: Side) -> str:
        """Return the kind of machine that all were trained on; "" if there are several."""
        kinds = {self.kinds[run] for run in side}
        return kinds.pop() if len(kinds) == 1 else ""


def _all_sides(arms: Sequence[Arm]) -> list[Side]:
    """Return one run of each arm for every seed that all have."""
    seeds = [seed for seed in arms[0].runs if all(seed in arm.runs for arm in arms)]
    return [tuple(arm.runs[seed].fingerprint for arm in arms) for seed in seeds]


def _marked(sides: Sequence[Side], is_marked: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Return whether each run has a property (2, seeds), the reference first."""
    rows = [list(map(is_marked, side)) for side in sides]
    return np.array(rows, dtype=bool).reshape(-1, 2).T


def outcomes(
    scores: pd.DataFrame, states: Mapping[str, str], machines: Mapping[str, Any]
) -> Outcomes:
    """Return the outcomes of all planned runs.

    Args:
        scores: Columns fingerprint, view, members, split, metric, value.
        states: State of every planned run.
        machines: The machine of every planned run's training, as plain values.
    """
    columns = ("fingerprint", "view", "members", "split", "metric")
    keys = zip(*(scores[name].tolist() for name in columns), strict=True)
    values = dict(zip(keys, scores["value"].astype(float).tolist(), strict=True))
    kinds = {run: json.dumps(machine, sort_keys=True) for run, machine in machines.items()}
    return Outcomes(states, kinds, values)


def compared(plan: Plan, kind: Kind = "comparison") -> Iterator[Arm]:
    """Yield every arm that is compared with another, in the order of the plan.

    Args:
        plan: The confirmation plan.
        kind: The kind of the studies.
    """
    runs: dict[tuple[str, str], dict[int, PlannedRun]] = {}
    for run in plan.runs_of(kind):
        runs.setdefault((run.study, run.arm), {})[run.seed] = run
    for study in plan.studies_of(kind):
        alone = {
            arm.name: Arm(study, arm, runs.get((study.name, arm.name), {})) for arm in study.arms
        }
        for name, arm in alone.items():
            if name != BASELINE:
                yield Arm(study, arm.described, arm.runs, alone[arm.described.against])


def pretrainings(plan: Plan) -> dict[str, str]:
    """Return the name of the pretraining of each run by fingerprint; "" for random weights.

    The first phase of a training of two is none.

    Args:
        plan: The confirmation plan.
    """
    starts = {start.fingerprint: start for start in plan.starts}
    names = {}
    for run in plan.runs:
        start = starts.get(run.start or "")
        while start and not start.data:
            start = starts.get(start.start or "")
        names[run.fingerprint] = start.data if start else ""
    return names


def finite(rows: Sequence[Sequence[float]], width: int) -> Array:
    """Return (width, n) from n rows, without rows that hold NaN or infinity.

    Args:
        rows: n rows of numbers.
        width: The length of each, also where there are no rows.
    """
    table = np.array(rows, dtype=float).reshape(-1, width)
    kept: Array = table[np.isfinite(table).all(axis=1)].T
    return kept
