"""Describe how scores depend on hyperparameters: curves, ends, a surface, shifts."""

from collections.abc import Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pipeline.comparison.designs import Design
from pipeline.comparison.levels import LEVEL
from pipeline.comparison.significance import holm
from pipeline.config.streams import derive
from pipeline.planning.spaces import Space

RESPONSES = (
    *("study", "arm", "hyperparameter", "scale", "place", "from", "to", "n", "lost"),
    *("lower", "median", "upper"),
)
ENDS = (
    *("study", "arm", "hyperparameter", "end", "at", "n", "median", "best", "p", "p_holm"),
    "fails",
)
SURFACE = ("study", "arm", "first", "second", "first_place", "second_place", "mean")
SHIFTS = (
    *("study", "arm", "moved", "scale", "hyperparameter", "split", "n", "below", "above"),
    *("shift", "low", "high", "resamples"),
)
TENTHS, FIFTHS = 10, 5  # parts of a range: of a curve, and those that are compared with the ends
QUARTER = 0.25  # the best trials, whose middle is where a hyperparameter is best
FEWEST = 20  # trials on each side of a split
RESAMPLES = 1000
STEPS = 21  # places of a surface along each axis
WIDTHS = (0.05, 0.08, 0.12, 0.18, 0.27)  # widths of the surface's kernel, in the unit square
INSIDE = 1 - 1e-9  # the last place of a range

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def responses(study: str, arm: str, design: Design) -> pd.DataFrame:
    """Return the validation scores over each tenth of each range, or at each value of a list.

    All other hyperparameters vary too, so the quartiles show the spread that remains at a value.

    Args:
        study: The name of the study.
        arm: The name of the arm.
        design: Its design.

    Returns:
        A table with the columns `RESPONSES`: `place` is the middle of a part, in [0, 1] on the
        scale; `from` and `to` are the values at its ends, as text; quartiles of the
        scores of its trials, those with a `lost` run counted with the lowest score of the design.
    """
    scores = _lowest_for_lost(design)
    rows = []
    for column, (name, space) in enumerate(design.spaces.items()):
        count = len(space.values) or TENTHS
        parts = _parts(design.places[:, column], count)
        for number in range(count):
            is_inside = parts == number
            if not is_inside.any():
                continue
            quartiles = np.percentile(scores[is_inside], (25, 50, 75))
            trials = int(is_inside.sum())
            lost = int((design.ranked[is_inside] < 0).sum())
            middle = (number + 0.5) / count
            part = study, arm, name, space.scale or "", middle, *_ends_of(space, number, count)
            rows.append((*part, trials, lost, *quartiles))
    return pd.DataFrame(rows, columns=list(RESPONSES))


def ends(study: str, arm: str, design: Design) -> pd.DataFrame:
    """Return whether scores are worse at the ends of each range than elsewhere in it.

    The scores in the first and in the last fifth of a range are compared with those in each other
    fifth by a one-sided Mann-Whitney test. An end fails where another fifth is better: the range
    is then wide enough on that side.

    Test: Mann and Whitney, Annals of Mathematical Statistics 18, 1947.

    Args:
        study: The name of the study.
        arm: The name of the arm.
        design: Its design.

    Returns:
        A table with the columns `ENDS`, two rows for every hyperparameter with an order: the value
        at the end, the trials in its fifth and their median validation score, the median of the
        best fifth, `p` (Bonferroni over the other fifths), `p_holm` (Holm over the rows of the
        arm), and whether it `fails` at the 5 % level.
    """
    scores = _lowest_for_lost(design)
    rows = []
    for column, (name, space) in enumerate(design.spaces.items()):
        if not design.is_ordered[column]:
            continue
        parts = _parts(design.places[:, column], FIFTHS)
        groups = [scores[parts == number] for number in range(FIFTHS)]
        medians = [float(np.median(group)) if len(group) else nan for group in groups]
        for end, number in (("low", 0), ("high", FIFTHS - 1)):
            others = [group for fifth, group in enumerate(groups) if fifth != number]
            value = _label(space, float(number > 0))
            best = float(np.nanmax(medians))
            p = _p_worse(groups[number], others)
            trials = len(groups[number])
            rows.append((study, arm, name, end, value, trials, medians[number], best, p))
    table = pd.DataFrame(rows, columns=list(ENDS[:-2]))
    corrected = holm(table["p"].to_numpy(float))
    return table.assign(p_holm=corrected, fails=corrected < LEVEL)


def surface(study: str, arm: str, design: Design, names: Sequence[str]) -> pd.DataFrame:
    """Return the mean validation score over the square of two hyperparameters.

    It is a mean of all trials weighted by a Gaussian kernel (Nadaraya-Watson), whose width predicts
    each trial best from the others.

    Nadaraya, Theory Probab. Appl. 9, 1964; Watson, Sankhya A 26, 1964. The width is chosen by
    leave-one-out cross-validation.

    Args:
        study: The name of the study.
        arm: The name of the arm.
        design: Its design.
        names: The hyperparameters, the most important first; the first two with an order are used.

    Returns:
        A table with the columns `SURFACE`; no rows with fewer than two.
    """
    keys = list(design.spaces)
    ordered = [name for name in names if design.is_ordered[keys.index(name)]][:2]
    if len(ordered) < 2:
        return pd.DataFrame(columns=list(SURFACE))
    places = design.places[:, [keys.index(name) for name in ordered]]
    scores = _lowest_for_lost(design)
    errors = [_left_out_error(places, scores, width) for width in WIDTHS]
    width = WIDTHS[int(np.argmin(errors))]
    axis = np.linspace(0, 1, STEPS)
    grid = np.array([(x, y) for y in axis for x in axis])
    weights = _kernel(grid, places, width)
    means = weights @ scores / weights.sum(axis=1)
    columns = {"first_place": grid[:, 0], "second_place": grid[:, 1], "mean": means}
    table = pd.DataFrame(columns).assign(study=study, arm=arm)
    return table.assign(first=ordered[0], second=ordered[1])[list(SURFACE)]


def shifts(study: str, arm: str, design: Design, rate: str | None) -> pd.DataFrame:
    """Return the shift of the best place of a hyperparameter when another one changes.

    Trials are split at the median of the other's values. On each side the best place is the mean
    place of the best quarter of the trials.

    Bootstrap: Efron, Bootstrap Methods, Annals of Statistics 7, 1979.

    Args:
        study: The name of the study.
        arm: The name of the arm.
        design: Its design.
        rate: The name of the hyperparameter, one with a range; None for no rows.

    Returns:
        A table with the columns `SHIFTS`: a row for every other hyperparameter with an order: the
        value of the split, the fewer trials of the two sides, the best value of `moved` with the
        other below and above the split, and the `shift`, above against below: a factor on the
        scales log and log_integers, else a share of the range. The intervals of an arm hold
        together (95 %; percentile bootstrap over trials and seeds, Bonferroni over its rows).
    """
    if rate is None:
        return pd.DataFrame(columns=list(SHIFTS))
    names = list(design.spaces)
    column, space = names.index(rate), design.spaces[rate]
    others = [
        number for number in range(len(names)) if number != column and design.is_ordered[number]
    ]
    generator = np.random.default_rng(derive(0, "shifts", study, arm))
    samples = [design.redrawn(generator) for _ in range(RESAMPLES)]
    tail = LEVEL / 2 / max(1, len(others))
    places = design.places[:, column]
    rows = []
    for other in others:
        split = float(np.median(design.places[:, other]))
        is_above = design.places[:, other] > split
        smaller_side = int(min(is_above.sum(), (~is_above).sum()))
        if smaller_side < FEWEST:
            continue
        below, above = _best_places(places, design.ranked, is_above)
        resampled = [
            _shift(*_best_places(places[points], scores, is_above[points]))
            for points, scores in samples
        ]
        low, high = np.quantile(resampled, [tail, 1 - tail])
        compared = study, arm, rate, space.scale, names[other]
        split_value = _label(design.spaces[names[other]], split)
        best_values = _value(space, below), _value(space, above)
        moved = [_on_scale(space, shift) for shift in (_shift(below, above), low, high)]
        rows.append((*compared, split_value, smaller_side, *best_values, *moved, RESAMPLES))
    return pd.DataFrame(rows, columns=list(SHIFTS))


def _lowest_for_lost(design: Design) -> Array:
    """Return the validation scores; a point with a lost run has the lowest score of all."""
    is_scored = design.ranked >= 0
    lowest = design.ranked[is_scored].min() if is_scored.any() else 0.0
    return np.where(is_scored, design.ranked, lowest)


def _parts(places: Array, count: int) -> NDArray[np.int64]:
    """Return the number of the equal part of [0, 1] in which each place is."""
    return np.minimum(places * count, count - 1).astype(int)


def _ends_of(space: Space, number: int, count: int) -> tuple[str, str]:
    if space.values:
        return str(space.values[number]), str(space.values[number])
    return _label(space, number / count), _label(space, (number + 1) / count)


def _value(space: Space, place: float) -> Any:
    return space.at(min(max(place, 0.0), INSIDE))


def _label(space: Space, place: float) -> str:
    """Return the value at a place as text, so that all hyperparameters share a column type."""
    value = _value(space, place)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _on_scale(space: Space, shift: float) -> float:
    """Return a shift of places as a factor of values on a logarithmic scale."""
    if space.scale in ("log", "log_integers"):
        return float((space.high / space.low) ** shift)
    return float(shift)


def _p_worse(group: Array, others: Sequence[Array]) -> float:
    """Return the p-value of another group being better (Bonferroni); NaN without trials."""
    compared = [other for other in others if len(other)]
    if not (len(group) and compared):
        return nan
    values = [stats.mannwhitneyu(group, other, alternative="less").pvalue for other in compared]
    return float(min(1.0, len(values) * min(values)))


def _best_places(places: Array, scores: Array, is_above: Mask) -> tuple[float, float]:
    """Return the best place of the trials below a split, and of the trials above it."""
    below = _best_place(places[~is_above], scores[~is_above])
    return below, _best_place(places[is_above], scores[is_above])


def _shift(below: float, above: float) -> float:
    return above - below


def _best_place(places: Array, scores: Array) -> float:
    """Return the mean place of the best quarter of trials; tied trials have equal weights.

    NaN without trials.
    """
    if not len(places):
        return nan
    count = max(1, round(QUARTER * len(places)))
    threshold = np.partition(scores, -count)[-count]
    better, tied = places[scores > threshold], places[scores == threshold]
    sum_of_tied = (count - len(better)) * tied.mean()
    return float((better.sum() + sum_of_tied) / count)


def _kernel(at: Array, places: Array, width: float) -> Array:
    squares = np.square(at[:, None] - places).sum(axis=2)
    weights: Array = np.exp(-squares / (2 * width**2)) + 1e-12  # far from all: the plain mean
    return weights


def _left_out_error(places: Array, scores: Array, width: float) -> float:
    weights = _kernel(places, places, width)
    np.fill_diagonal(weights, 0)
    return float(np.square(weights @ scores / weights.sum(axis=1) - scores).mean())
