"""Choose one of the tried settings, from validation scores only.

Over an ordered space the choice is by a response curve, because many points with few seeds find a
better setting than few points with many seeds; otherwise by the plain mean.
benchmarks/measure_choice.py compares both.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

import numpy as np

from pipeline.config.plan import Dimension, Setting
from pipeline.config.scales import position
from pipeline.planning.response import smoothed

LEAST_POINTS = 5  # points of a response curve
NEAR = 0.05  # share of a range: a value of a design this near to an end is at it
COLLAPSE = 0.1  # accuracy, a fraction
DIGITS = 12  # more would let the order of a sum break a tie

Array = np.ndarray


@dataclass(frozen=True)
class Score:
    """The end of a run, under its test rule.

    Attributes:
        state: done, failed, diverged or missing.
        accuracy: Validation accuracy (fraction); NaN for a run that is not done.
        nll: Validation NLL (nats); NaN for a run that is not done.
        machine: The machine on which the run was trained; equal texts for equal machines.
    """

    state: str
    accuracy: float = nan
    nll: float = nan
    machine: str = "unknown"


@dataclass(frozen=True)
class ScoredSetting:
    """A setting with the scores of all its runs.

    Attributes:
        setting: Its values, by part and key.
        scores: Those of its runs in the order of their seeds. Settings may have further runs, at
            seeds that other settings lack (`comparable`).
    """

    setting: Setting
    scores: tuple[Score, ...]

    @property
    def complete(self) -> bool:
        """Return whether every run is done and has a score."""
        scores = self.scores
        return all(score.state == "done" and not isnan(score.accuracy) for score in scores)

    @property
    def failed(self) -> bool:
        """Return whether a run ended by an error, which carries no information about the value."""
        return any(score.state in ("failed", "missing") for score in self.scores)

    @property
    def accuracy(self) -> float:
        """Return the mean validation accuracy of the runs that are done."""
        return _mean([score.accuracy for score in self.scores if score.state == "done"])

    @property
    def nll(self) -> float:
        """Return the mean validation NLL of the runs that are done."""
        return _mean([score.nll for score in self.scores if score.state == "done"])


def best(settings: Sequence[ScoredSetting], space: Sequence[Dimension]) -> int | None:
    """Return the number of the best setting; None if every setting lacks a run.

    Args:
        settings: The settings of an arm.
        space: The values that the arm searches.
    """
    complete = [number for number, item in enumerate(settings) if item.complete]
    if not complete:
        return None
    compared = comparable([settings[number] for number in complete])
    fitted = response(compared, space)
    curve = [0.0] * len(complete) if fitted is None else fitted.round(DIGITS).tolist()

    def order(place: int) -> tuple[float, float, float, str]:
        item = compared[place]
        values = "" if fitted is None else json.dumps(item.setting)  # whatever the order of trials
        return -curve[place], -item.accuracy, item.nll, values

    return complete[min(range(len(complete)), key=order)]


def comparable(settings: Sequence[ScoredSetting]) -> list[ScoredSetting]:
    """Return settings with comparable scores, although some have more runs than others.

    A seed shifts the scores of all settings, since its split may be easy or hard. Scores at a seed
    that some settings lack are therefore corrected by the effect of that seed, compared with the
    seeds that all settings have. The effects are from a least-squares fit of one constant per
    setting and per seed.

    Args:
        settings: Complete settings of an arm. The seeds of each are the first ones of those of all.
    """
    lengths = [len(item.scores) for item in settings]
    common = min(lengths, default=0)
    if common == max(lengths, default=0):
        return list(settings)
    shifts = _shifts_of_seeds(settings)
    shifts -= shifts[:common].mean(axis=0)
    return [replace(item, scores=_shifted(item.scores, shifts, common)) for item in settings]


def _shifts_of_seeds(settings: Sequence[ScoredSetting]) -> Array:
    """Return the effect of each seed on accuracy and NLL (seeds, 2), by least squares.

    Args:
        settings: The settings; a score is the sum of a constant of its setting and one of its seed.
    """
    most = max(len(item.scores) for item in settings)
    rows, values = [], []
    for place, item in enumerate(settings):
        for seed, score in enumerate(item.scores):
            row = np.zeros(len(settings) + most)
            row[[place, len(settings) + seed]] = 1
            rows.append(row)
            values.append((score.accuracy, score.nll))
    constants, *_ = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)
    of_seeds: Array = constants[len(settings) :]
    return of_seeds


def response(settings: Sequence[ScoredSetting], space: Sequence[Dimension]) -> Array | None:
    """Return the validation accuracy of each setting on a smooth curve over the scale.

    Collapsed settings, such as those with a too large learning rate, are left out of the fit.

    Args:
        settings: Complete settings of an arm.
        space: The values that the arm searches.

    Returns:
        (settings,) The fitted accuracy (fraction), -inf for settings left out; None without a
        curve: not one value is searched on a scale, or fewer than five settings are fitted.
    """
    if len(space) != 1 or len(settings) < LEAST_POINTS:
        return None
    (dimension,) = space
    scale = dimension.scale
    if scale is None:
        return None
    compared = comparable(settings)
    values = [item.setting[dimension.part][dimension.key] for item in compared]
    places = np.array([position(scale, value) for value in values])
    means = np.array([item.accuracy for item in compared])
    mask = ~collapsed(means)
    if mask.sum() < LEAST_POINTS:
        return None
    common = min(len(item.scores) for item in compared)
    scores = np.array([[score.accuracy for score in item.scores[:common]] for item in compared]).T
    scores += means - scores.mean(axis=0)  # adds the information of further runs
    curve = np.full(len(settings), -np.inf)
    curve[mask] = smoothed(places[mask], scores[:, mask])
    return curve


def collapsed(means: Array) -> Array:
    """Return which mean accuracies are more than `COLLAPSE` below the median of the three best.

    Args:
        means: (settings,) Mean validation accuracies (fraction).

    Returns:
        (settings,) Booleans.
    """
    fallen: Array = means < np.median(np.sort(means)[-3:]) - COLLAPSE
    return fallen


def at_edge(chosen: Setting, settings: Sequence[ScoredSetting], dimension: Dimension) -> int:
    """Return whether a chosen value is at the lower end (-1) or the upper end (1), or neither (0).

    Random designs have no trial exactly at an end of the range. There, the outermost part of the
    range, on its scale, counts as the end: the share `NEAR`, or the share of one trial if this is
    larger.

    Args:
        chosen: The chosen setting.
        settings: All settings of the arm. One that diverged counts: a value next to it is not at
            the end. One that failed does not.
        dimension: The value that is looked at.

    Returns:
        0 for values that are not numbers, too, and where only one was tried.
    """
    value = chosen[dimension.part][dimension.key]
    if dimension.scale and dimension.low is not None and dimension.high is not None:
        low = position(dimension.scale, dimension.low)
        high = position(dimension.scale, dimension.high)
        share = (position(dimension.scale, value) - low) / (high - low)
        near = max(NEAR, 1 / len(settings))
        if share < near:
            return -1
        return 1 if share > 1 - near else 0
    values = [item.setting[dimension.part][dimension.key] for item in settings if not item.failed]
    is_numeric = all(type(value) in (int, float) for value in values)
    if not is_numeric or len(set(values)) < 2:
        return 0
    return {min(values): -1, max(values): 1}.get(value, 0)


def _shifted(scores: tuple[Score, ...], shifts: Array, common: int) -> tuple[Score, ...]:
    """Return the scores, corrected for the effect of seeds that not all settings have."""
    further = zip(scores[common:], shifts[common : len(scores)].tolist(), strict=True)
    return (
        *scores[:common],
        *(
            replace(score, accuracy=score.accuracy - accuracy, nll=score.nll - nll)
            for score, (accuracy, nll) in further
        ),
    )


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), DIGITS) if values else nan
