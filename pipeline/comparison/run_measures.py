"""Measure single runs for claims: scores, costs, times to a target, norms of weights."""

from collections.abc import Mapping, Sequence
from math import inf, nan
from typing import Any

import numpy as np

from pipeline.comparison.intervals import Array
from pipeline.comparison.levels import PRIMARY
from pipeline.comparison.matching import Arm, Side, finite
from pipeline.comparison.samples import Sources
from pipeline.config.claims import COSTS
from pipeline.config.test_rules import DETERMINISTIC

SCORED = {  # measure -> a score of `Outcomes.values`
    "accuracy": PRIMARY,
    "error": PRIMARY,
    **{name: f"test_{name}" for name in ("nll", "brier", "calibration_error")},
    **{name: name for name in ("validation_accuracy", "validation_nll", "gap")},
}
TRAINED = {"train_accuracy": "accuracy", "train_nll": "nll"}
TARGETS = {"updates_to_target": "updates", "flops_to_target": "flops"}


def times_on_one_scale(times: Sequence[float], ends: Sequence[float]) -> list[float]:
    """Return the times to target of the runs of a seed, all finite.

    A run that never arrives counts as arriving at the end of its training, or with the last of the
    other runs if that is later. So a ratio never becomes larger. All times are equal where no run
    arrives.

    Args:
        times: Those to the target, infinite for a run that never reaches it.
        ends: Those of the whole training.
    """
    arrived = [value for value in times if value < inf]
    if not arrived:
        return [1.0] * len(times)
    latest = max(arrived)
    pairs = zip(times, ends, strict=True)
    return [value if value < inf else max(end, latest) for value, end in pairs]


class RunMeasures:
    """Measure runs.

    Args:
        sources: What is measured.
    """

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        times = sources.target_times
        self.targets = {
            name: dict(zip(times["fingerprint"], times[name].astype(float), strict=True))
            for name in ("updates", "flops")
        }

    def values(self, measure: str, arms: Sequence[Arm]) -> Array:
        """Return a measure (arms, n) at the seeds at which all arms are done and have it.

        Args:
            measure: A measure of runs, as a claim names it.
            arms: The arms, the reference first.

        Raises:
            Refusal: A run that is done has no score.
        """
        sides, _ = self.sources.outcomes.sides(arms)
        return finite([self.side(measure, side, arms) for side in sides], len(arms))

    def side(self, measure: str, side: Side, arms: Sequence[Arm]) -> list[float]:
        """Return a measure of each run of a seed; NaN if it is unknown.

        Args:
            measure: A measure of runs, as a claim names it.
            side: The fingerprints of the runs, one for each arm.
            arms: The arms.

        Raises:
            Refusal: A run that is done has no score.
        """
        if measure in SCORED:
            scores = self.sources.outcomes.values([side], arms, SCORED[measure])
            if not scores.shape[1]:
                return [nan] * len(arms)
            values = [float(score) for score in scores[:, 0]]
            return [1 - value for value in values] if measure == "error" else values
        if measure in COSTS:
            return self._costs(measure, side, arms)
        if measure in TARGETS:
            return self._times(TARGETS[measure], side)
        if measure == "zeros":
            return [0.0, self._zeros(side[-1])]
        if measure in TRAINED:
            return [self.score(run, "train", TRAINED[measure]) for run in side]
        return [self._norm(run) for run in side]

    def arrivals(self, measure: str, arms: Sequence[Arm]) -> Array:
        """Return the times to target (arms, n) of the runs in `values`; infinite for never.

        Args:
            measure: A measure of `TARGETS`.
            arms: The arms, the reference first.
        """
        sides, _ = self.sources.outcomes.sides(arms)
        times = self.targets[TARGETS[measure]]
        rows = [
            [times[run] for run in side]
            for side in sides
            if not np.isnan(self._times(TARGETS[measure], side)).any()
        ]
        return np.array(rows, dtype=float).reshape(-1, len(arms)).T

    def score(self, run: str, split: str, metric: str) -> float:
        """Return a score of a run without noise; NaN if it has none.

        Args:
            run: Its fingerprint.
            split: train, validation or test.
            metric: accuracy, nll or another metric of the scores.
        """
        key = (run, DETERMINISTIC.view, DETERMINISTIC.members, split, metric)
        return self.sources.outcomes.scores.get(key, nan)

    def _costs(self, measure: str, side: Side, arms: Sequence[Arm]) -> list[float]:
        name = "training_flops" if measure == "training_cost" else "forward_flops"
        passes = [1 if measure == "training_cost" else arm.described.rule.members for arm in arms]
        counted = [
            number * self._record(run).get("cost", {}).get(name, nan)
            for number, run in zip(passes, side, strict=True)
        ]
        return [cost / counted[0] if counted[0] > 0 else nan for cost in counted]

    def _times(self, name: str, side: Side) -> list[float]:
        """Return the logarithms of the times to target of the runs of a seed."""
        counted = {"updates": "updates", "flops": "training_flops"}[name]
        ends = [self._record(run).get("cost", {}).get(counted, nan) for run in side]
        times = [self.targets[name].get(run, nan) for run in side]
        if np.isnan([*ends, *times]).any():
            return [nan] * len(side)
        return [float(np.log(value)) for value in times_on_one_scale(times, ends)]

    def _zeros(self, run: str) -> float:
        """Return the share of weights that are exactly 0, from the audit of the run."""
        audits = self._record(run).get("audit", {}).values()
        return next((float(audit["zeros"]) for audit in audits if "zeros" in audit), nan)

    def _norm(self, run: str) -> float:
        """Return the logarithm of the squared norm of the weights after training."""
        rows = self.sources.histories.get(run, ())
        norms = [row["squared_weight_norm"] for row in rows if row.get("squared_weight_norm")]
        return float(np.log(norms[-1])) if norms else nan

    def _record(self, run: str) -> Mapping[str, Any]:
        return self.sources.records.get(run, {})
