"""Collect the designs of studies of searches: the settings of an arm, with scores of their runs.

The settings of a design do not depend on scores, so searches can be replayed on it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.curves import Histories
from pipeline.config.plan import PROTOCOL, Dimension, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.planning.spaces import Space

POINTS = (
    *("study", "arm", "point", "hyperparameter", "scale", "at", "place"),
    *("validation_accuracy", "test_accuracy", "is_best"),
)
BEST = 0.1  # share of the points
LOST = -1.0  # the score of a point with a lost run, below all others
EPOCHS = "training.epochs"
DIGITS = 9  # digits of a mean over seeds; equal means may differ by round-off beyond

Array = NDArray[np.float64]
Values = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Design:
    """The settings of an arm, which do not depend on scores, with the scores of their runs.

    Scores are accuracies, fractions, means over seeds; NaN if a run has diverged by then, has
    failed or is missing.

    Attributes:
        spaces: The space of every hyperparameter by its full name, in the order of `values`.
        values: The values of every point.
        shares: Shares of the schedule at which the validation score is known, ascending to 1.
        curves: The validation score of each point at each of them (points, shares).
        by_seed: The validation score at the end by seed (seeds, points).
        test: The test score of each point (points,).
        is_random: Whether points are independent draws.
    """

    spaces: Mapping[str, Space]
    values: tuple[Values, ...]
    shares: Array
    curves: Array
    by_seed: Array
    test: Array
    is_random: bool = True

    @property
    def validation(self) -> Array:
        """Return the validation score of each point at the end of its schedule (points,)."""
        scores: Array = self.curves[:, -1]
        return scores

    @cached_property
    def ranked(self) -> Array:
        """Return the validation scores (points,) without round-off, `LOST` where a run is lost."""
        return np.nan_to_num(self.validation.round(DIGITS), nan=LOST)

    @cached_property
    def places(self) -> Array:
        """Return the place of each point in the unit cube (points, hyperparameters)."""
        places = [
            [space.quantile(value) for space, value in zip(self.spaces.values(), row, strict=True)]
            for row in self.values
        ]
        return np.array(places).reshape(len(self.values), len(self.spaces))

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """Return the number of each point by its values, as text."""
        return {json.dumps(row): number for number, row in enumerate(self.values)}

    def number_of(self, values: Values) -> int | None:
        """Return the number of the point with given values; None without one.

        Args:
            values: The values of a point, in the order of `spaces`.
        """
        return self.numbers.get(json.dumps(values))

    @cached_property
    def is_ordered(self) -> NDArray[np.bool_]:
        """Return which hyperparameters are numbers, or lists of them (hyperparameters,)."""
        lists = [space.values for space in self.spaces.values()]  # those of a range are empty
        ordered = [all(_numbers(value) is not None for value in values) for values in lists]
        return np.array(ordered, dtype=bool)

    def distances(self, settings: Sequence[Values]) -> Array:
        """Return the distance of each point from each of some settings, in the unit cube.

        Along a hyperparameter whose values are not numbers, equal values are at distance 0, others
        at distance 1.

        Args:
            settings: Values in the order of `spaces`, one tuple for each setting.

        Returns:
            Euclidean distances (settings, points).
        """
        spaces = self.spaces.values()
        rows = [
            [space.quantile(value) for space, value in zip(spaces, values, strict=True)]
            for values in settings
        ]
        places = np.array(rows).reshape(len(rows), 1, len(spaces))
        apart = np.abs(self.places - places)
        if not self.is_ordered.all():
            apart[..., ~self.is_ordered] = apart[..., ~self.is_ordered] > 0
        distances: Array = np.sqrt(np.square(apart).sum(axis=2))
        return distances

    def subset(self, points: NDArray[np.int64]) -> "Design":
        """Return the design with only the given points.

        Args:
            points: (n,) The numbers of its points, in their order.
        """
        return replace(
            self,
            values=tuple(self.values[number] for number in points),
            curves=self.curves[points],
            by_seed=self.by_seed[:, points],
            test=self.test[points],
        )

    def half(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return the numbers (points // 2,) of a random half of the points, ascending.

        The variance of a statistic over halves is that over designs of this size: the delete-d
        jackknife with d of half the points (Shao and Wu, Annals of Statistics 17, 1989). Unlike the
        usual jackknife it also holds for a statistic that is not smooth.

        Args:
            generator: The source of the draws.
        """
        count = len(self.values)
        return np.sort(generator.permutation(count)[: count // 2])

    def redrawn(self, generator: np.random.Generator) -> tuple[NDArray[np.int64], Array]:
        """Draw points and seeds again, with replacement.

        Bootstrap: Efron, Bootstrap Methods, Annals of Statistics 7, 1979.

        Args:
            generator: The source of the draws.

        Returns:
            The numbers of the points (points,), and their mean validation scores (points,), -1
            where a run is lost.
        """
        seeds, count = self.by_seed.shape
        points = generator.integers(count, size=(count,))
        drawn = generator.integers(seeds, size=seeds)
        scores: Array = self.by_seed[np.ix_(drawn, points)].mean(axis=0).round(DIGITS)
        return points, np.nan_to_num(scores, nan=LOST)


def full_name(dimension: Dimension) -> str:
    """Return the full name of a hyperparameter, such as dropout.rate or training.learning_rate.

    Args:
        dimension: A searched value.
    """
    if dimension.part == PROTOCOL:
        return dimension.key
    return f"{dimension.part}.{dimension.key}"


def designs_of(
    plan: Plan, scores: pd.DataFrame, histories: Histories
) -> Iterator[tuple[PlannedStudy, PlannedArm, Design]]:
    """Yield the design of every arm of the studies of searches that has one.

    A run that diverged has the scores of its learning curve up to there: a search that stops it
    before cannot know that it will diverge.

    Args:
        plan: The confirmation plan.
        scores: The table `scores`.
        histories: The learning curves of the runs that are done or diverged, by fingerprint.
    """
    final_scores = _final_scores(plan, scores)
    for study in plan.studies_of("search"):
        for arm in study.arms:
            runs = [run for run in plan.runs if (run.study, run.arm) == (study.name, arm.name)]
            if arm.space and runs:
                yield study, arm, _design(plan, arm, runs, final_scores, histories)


def point_table(study: str, arm: str, design: Design) -> pd.DataFrame:
    """Return a row for every point and hyperparameter of a design, with the columns `POINTS`.

    `at` is a value as text, `place` is in [0, 1] on the scale of the hyperparameter; `is_best`
    marks the best tenth of the points by validation.

    Args:
        study: The name of the study.
        arm: The name of the arm.
        design: Its design.
    """
    least = np.quantile(design.ranked, 1 - BEST)
    scores = {
        "point": np.arange(len(design.values)),
        "validation_accuracy": design.validation,
        "test_accuracy": design.test,
        "is_best": design.ranked >= least,
    }
    tables = [
        pd.DataFrame(scores).assign(
            hyperparameter=name,
            scale=space.scale or "",
            at=[json.dumps(values[column]) for values in design.values],
            place=design.places[:, column],
        )
        for column, (name, space) in enumerate(design.spaces.items())
    ]
    return pd.concat(tables, ignore_index=True).assign(study=study, arm=arm)[list(POINTS)]


def _design(
    plan: Plan,
    arm: PlannedArm,
    runs: Sequence[PlannedRun],
    scores: Mapping[str, Mapping[str, float]],
    histories: Histories,
) -> Design:
    by_point: dict[str, list[PlannedRun]] = {}
    for run in runs:
        by_point.setdefault(json.dumps(run.setting, sort_keys=True), []).append(run)
    points = [sorted(group, key=lambda run: run.seed) for group in by_point.values()]
    values = tuple(_values(arm.space, group[0]) for group in points)
    curves = {
        run.fingerprint: _curve(histories.get(run.fingerprint, ()), _epochs(plan, run))
        for run in runs
    }
    shares = sorted({share for curve in curves.values() for share in curve if share < 1})
    early = [
        _by_seed(points, {name: _from(curve, share) for name, curve in curves.items()})
        for share in shares
    ]
    final, test = (_by_seed(points, scores[split]) for split in ("validation", "test"))
    return Design(
        spaces=_spaces(arm.space, values),
        values=values,
        shares=np.array([*shares, 1.0]),
        curves=np.stack([each.mean(axis=0) for each in (*early, final)], axis=1),
        by_seed=final,
        test=test.mean(axis=0),
        is_random=arm.design == "random",
    )


def _by_seed(points: Sequence[Sequence[PlannedRun]], scores: Mapping[str, float]) -> Array:
    """Return the score of every run (seeds, points)."""
    rows = [[scores.get(run.fingerprint, nan) for run in group] for group in points]
    return np.array(rows, dtype=float).T


def _values(space: Sequence[Dimension], run: PlannedRun) -> Values:
    return tuple(run.setting[dimension.part][dimension.key] for dimension in space)


def _spaces(dimensions: Sequence[Dimension], values: Sequence[Values]) -> dict[str, Space]:
    """Return the spaces of a design; a list has the values that occur, in ascending order."""
    spaces = {}
    for dimension, column in zip(dimensions, zip(*values, strict=True), strict=True):
        if dimension.scale is None or dimension.low is None or dimension.high is None:
            distinct = {json.dumps(value): value for value in column}
            space = Space(tuple(sorted(distinct.values(), key=_order)))
        else:
            space = Space((), dimension.scale, dimension.low, dimension.high)
        spaces[full_name(dimension)] = space
    return spaces


def _order(value: Any) -> tuple[bool, list[float], str]:
    """Return the sort key for values of a list: numbers, lists of them, then others as text."""
    numbers = _numbers(value)
    return numbers is None, numbers or [], json.dumps(value)


def _numbers(value: Any) -> list[float] | None:
    items = value if isinstance(value, (list, tuple)) else [value]
    is_number = all(isinstance(item, (int, float)) for item in items)
    return [float(item) for item in items] if is_number else None


def _epochs(plan: Plan, run: PlannedRun) -> int:
    """Return the epochs of the whole schedule of a run: one that diverged has no last point."""
    epochs: int = run.setting.get(PROTOCOL, {}).get(EPOCHS, plan.settings["training"]["epochs"])
    return epochs


def _curve(history: Sequence[Mapping[str, Any]], epochs: int) -> dict[float, float]:
    """Return the validation accuracy of a run by the share of its schedule."""
    rows = [row for row in history if row["split"] == "validation"]
    return {row["epoch"] / epochs: row["accuracy"] for row in rows}


def _from(curve: Mapping[float, float], share: float) -> float:
    """Return the first score at or after a share of the schedule; NaN if there is none."""
    return next((score for at, score in curve.items() if at >= share), nan)


def _final_scores(plan: Plan, scores: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the accuracy of every run under its test rule: split -> fingerprint -> score."""
    rules = plan.rules()
    names = {run.fingerprint for run in plan.runs_of("search")}
    rows = scores[(scores["metric"] == "accuracy") & scores["fingerprint"].isin(names)]
    by_split: dict[str, dict[str, float]] = {"validation": {}, "test": {}}
    for row in rows.to_dict("records"):
        rule = rules[row["fingerprint"]]
        if row["split"] in by_split and (row["view"], row["members"]) == (rule.view, rule.members):
            by_split[row["split"]][row["fingerprint"]] = float(row["value"])
    return by_split
