"""Find round values for the ticks of a searched range, with their places on its scale.

Ticks are at 1, 2 and 5 times powers of ten, or at powers of ten only where these would be too many.
On the scale one_minus_log, what is round is the distance to 1: 0.9, 0.99, 0.999.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from matplotlib.ticker import MaxNLocator

from pipeline.config.scales import WHOLE, Scale, position

MOST = 7  # ticks of an axis
MANTISSAS = (1, 2, 5)
DECADES = (1, 2, 3, 4, 5, 6)  # from one power of ten to the next with a tick
DIGITS = 12  # behind the point: 1 - 0.1 is 0.9
HALF = 0.5  # that a range of whole numbers is longer on either side, so that its ends have a share


def round_ticks(
    scale: Scale, low: float, high: float, letters: float
) -> tuple[list[float], list[str]]:
    """Return places in [0, 1] and labels of round values, as many as have room.

    Args:
        scale: The scale of the range.
        low: Its lower end.
        high: Its upper end.
        letters: How many letters of a label fit along the axis.
    """
    places: list[float] = []
    labels: list[str] = []
    for values in _choices(scale, low, high):
        places = [_place(scale, low, high, value) for value in values]
        labels = [f"{value:g}" for value in values]
        if len(values) <= MOST and _has_room(places, labels, letters):
            break
    return places, labels


def _choices(scale: Scale, low: float, high: float) -> Iterator[list[float]]:
    """Yield round values in a range, many first."""
    if scale in ("log", "log_integers"):
        choices = _powers(low, high)
    elif scale == "one_minus_log":
        distances = _powers(1 - high, 1 - low)
        choices = [[round(1 - distance, DIGITS) for distance in each[::-1]] for each in distances]
    else:
        choices = []
    choices = [each for each in choices if len(each) > 1]
    yield from choices
    if not choices:  # a linear scale, or a narrow range
        for count in range(MOST - 1, 0, -1):
            locator = MaxNLocator(count, steps=[1, 2, 5, 10], integer=scale in WHOLE)
            values = [round(float(value), DIGITS) for value in locator.tick_values(low, high)]
            yield [value for value in values if low <= value <= high]


def _powers(low: float, high: float) -> list[list[float]]:
    """Return the round values in a range of positive numbers: with mantissas, then powers only."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    choices = [_within(low, high, [m * 10.0**power for power in powers for m in MANTISSAS])]
    for step in DECADES:
        shifted = [
            _within(low, high, [10.0**power for power in powers[start::step]])
            for start in range(step)
        ]
        choices.append(max(shifted, key=len))
    return choices


def _within(low: float, high: float, values: Iterable[float]) -> list[float]:
    """Return the values in a range, without the errors of floating point."""
    rounded = [float(f"{value:.{DIGITS}g}") for value in values]
    slack = 10.0**-DIGITS
    return [value for value in rounded if low - slack <= value <= high + slack]


def _place(scale: Scale, low: float, high: float, value: float) -> float:
    """Return the place of a value in a range, 0 at its lower end and 1 at its upper one."""
    margin = HALF if scale in WHOLE else 0.0
    start, end = position(scale, low - margin), position(scale, high + margin)
    return (position(scale, value) - start) / (end - start)


def _has_room(places: Sequence[float], labels: Sequence[str], letters: float) -> bool:
    """Return whether labels, centered at their places, are a letter apart."""
    ends = zip(pairwise(places), pairwise(labels), strict=True)
    return all(
        letters * (right - left) >= (len(one) + len(other)) / 2 + 1
        for (left, right), (one, other) in ends
    )
