"""Read search spaces, list the values that they try, and widen them.

A space is a list of values, or a range on a scale with a number of points. Several spaces make a
grid; `searches.py` has the other ways to cover them.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.scales import (
    DIGITS,
    FINE_DIGITS,
    MOST_DIGITS,
    SCALES,
    WHOLE,
    Scale,
    in_domain,
    position,
    value_at,
)
from pipeline.config.validation import invalid, unknown_key
from pipeline.runtime.errors import Refusal

MOST_POINTS = 100  # points of one space
MOST_SETTINGS = 1000  # settings of one arm
KEYS = ("points", "extend")
LARGEST = 1e100  # absolute value of an end of a range
ROUNDING = 0.05  # steps; a point of a grid is nearer to its place, however its value is rounded


@dataclass(frozen=True)
class Space:
    """The values that a key may take.

    Attributes:
        values: The values, in ascending order on a scale; of a list as written. Empty for a range
            that a design fills.
        scale: The scale of a range, None for a list.
        low: The lower end of a range.
        high: The upper end of a range.
        extend: How often the range may be widened.
        step: The distance of two points on the scale.
        widened: How often it was widened.
    """

    values: tuple[Any, ...]
    scale: Scale | None = None
    low: float = 0.0
    high: float = 0.0
    extend: int = 0
    step: float = 0.0
    widened: int = 0

    def at(self, quantile: float) -> Any:
        """Return the value at a quantile in [0, 1) on the scale; of a list, by number.

        Args:
            quantile: In [0, 1).
        """
        if self.scale is None:
            return self.values[int(quantile * len(self.values))]
        low, high = self._places
        value = value_at(self.scale, low + quantile * (high - low), FINE_DIGITS)
        is_whole = self.scale in WHOLE
        return min(max(value, int(self.low)), int(self.high)) if is_whole else value

    def quantile(self, value: Any) -> float:
        """Return the quantile of a value, in [0, 1]; for a list, the middle of its share.

        Args:
            value: A value of the space.

        Raises:
            ValueError: The value is not in the list.
        """
        if self.scale is None:
            return (self.values.index(value) + 0.5) / len(self.values)
        low, high = self._places
        return min(max((position(self.scale, value) - low) / (high - low), 0.0), 1.0)

    @cached_property
    def _places(self) -> tuple[float, float]:
        """Return the places of both ends of a range; for whole numbers half a step beyond each."""
        if self.scale is None:
            return 0.0, 0.0
        margin = 0.5 if self.scale in WHOLE else 0.0
        return position(self.scale, self.low - margin), position(self.scale, self.high + margin)

    def spaced(self, count: int) -> tuple[Any, ...]:
        """Return evenly spaced values of a range, both ends among them; one is the middle.

        There are fewer where the range has fewer whole numbers.

        Args:
            count: The number of values, >= 1.
        """
        if self.scale is None:
            return self.values
        if count == 1:
            return (self.at(0.5),)
        low, high = position(self.scale, self.low), position(self.scale, self.high)
        inner = np.linspace(low, high, count)[1:-1]
        values = [value_at(self.scale, float(place), FINE_DIGITS) for place in inner]
        ends = [int(end) if self.scale in WHOLE else end for end in (self.low, self.high)]
        return tuple(dict.fromkeys([ends[0], *values, ends[1]]))

    def beyond(self, end: int, halvings: int = 0) -> Any:
        """Return the value one step beyond an end; None if the scale ends.

        Args:
            end: -1 for the lower end, 1 for the upper one.
            halvings: How often the step is halved.
        """
        if self.scale is None or not self.values:
            return None
        outermost = self.values[0 if end < 0 else -1]
        first = position(self.scale, self.low)
        steps = (position(self.scale, outermost) - first) / self.step
        if abs(steps - round(steps)) < ROUNDING:  # a point of the grid, whose value is rounded
            steps = round(steps)
        value = value_at(self.scale, first + (steps + end * 0.5**halvings) * self.step)
        return value if in_domain(self.scale, value) and value != outermost else None

    def between(self, parts: int) -> list[Any]:
        """Return evenly spaced values between each two neighboring values of a range.

        Args:
            parts: The number of parts into which each step is divided, at least 1.

        Returns:
            `parts` - 1 values for each step; none for a list.
        """
        if self.scale is None:
            return []
        values = []
        for one, other in itertools.pairwise(self.values):
            low, high = position(self.scale, one), position(self.scale, other)
            places = np.linspace(low, high, parts + 1)[1:-1]
            values += [value_at(self.scale, float(place), FINE_DIGITS) for place in places]
        return values

    def with_value(self, value: Any) -> "Space":
        """Return the space with a further value, and one widening less.

        Args:
            value: The value.
        """
        ordered = tuple(sorted({*self.values, value}))
        extend = self.extend - 1
        return replace(self, values=ordered, extend=extend, widened=self.widened + 1)


def read_space(entry: Any, where: str, listed: bool = False) -> Space | None:
    """Return the space that a value of a YAML file describes, None for a single value.

    Args:
        entry: The value.
        where: Its file and key, for errors.
        listed: Whether a single value of the key is a list itself, so that a space is a list of
            lists.

    Raises:
        Refusal: The space is empty, or its range, scale or number of points is invalid.
    """
    if isinstance(entry, list):
        if listed and not (entry and all(isinstance(item, list) for item in entry)):
            return None
        if not entry:
            raise Refusal(invalid(where, entry, "a list of length >= 1"))
        if len(entry) > MOST_POINTS:
            raise Refusal(invalid(where, entry, f"a list of length <= {MOST_POINTS}"))
        if any(value in entry[:number] for number, value in enumerate(entry)):
            raise Refusal(invalid(where, entry, "distinct values"))
        return Space(tuple(entry))
    if not isinstance(entry, dict) or not set(entry) & {*SCALES, "points"}:
        return None
    return _range(entry, where)


def grid(spaces: Sequence[Space]) -> list[tuple[Any, ...]]:
    """Return every combination of the values of spaces, the last one varying fastest.

    Args:
        spaces: The search spaces of an arm.
    """
    return list(itertools.product(*(space.values for space in spaces)))


def size(spaces: Sequence[Space], widened: bool = False) -> int:
    """Return the number of settings of a grid, at most after all widenings if `widened`.

    Args:
        spaces: The search spaces of an arm.
        widened: Whether further values of widening count.
    """
    counts = [len(space.values) + (space.extend if widened else 0) for space in spaces]
    return int(np.prod(counts, dtype=float))


def _range(entry: Mapping[str, Any], where: str) -> Space:
    scale = _scale(entry, where)
    low, high = _ends(entry[scale], scale, f"{where}.{scale}")
    extend = _integer(entry.get("extend", 2), 0, 10, f"{where}.extend")
    points = entry.get("points")
    if points is None and scale != "integers":
        return Space((), scale, low, high, extend)
    if points is None:
        points = int(high - low) + 1
        if points > MOST_POINTS:
            raise Refusal(f"{where}.points: missing; expected an integer <= {MOST_POINTS}")
    count = _integer(points, 2, MOST_POINTS, f"{where}.points")
    places = np.linspace(position(scale, low), position(scale, high), count)
    for digits in (DIGITS, FINE_DIGITS, MOST_DIGITS):
        values = _values_at(places, scale, low, high, digits)
        if all(one < other for one, other in itertools.pairwise(values)):
            return Space(values, scale, low, high, extend, float(places[1] - places[0]))
    expected = f"an integer <= {len(set(values))}, the number of different values"
    raise Refusal(invalid(f"{where}.points", count, expected))


def _scale(entry: Mapping[str, Any], where: str) -> Scale:
    """Return the scale of a range, the only one among its keys."""
    unknown = [key for key in entry if key not in (*SCALES, *KEYS)]
    if unknown:
        raise Refusal(unknown_key(f"{where}.{unknown[0]}", [*SCALES, *KEYS]))
    scales = [scale for scale in SCALES if scale in entry]
    if len(scales) != 1:
        raise Refusal(invalid(where, dict(entry), f"one scale of {', '.join(SCALES)}"))
    return scales[0]


def _values_at(
    places: NDArray[np.float64], scale: Scale, low: float, high: float, digits: int
) -> tuple[float, ...]:
    """Return the values at places on a scale, rounded except at both ends."""
    inner = [value_at(scale, float(place), digits) for place in places[1:-1]]
    if scale in WHOLE:
        return int(low), *inner, int(high)
    return low, *inner, high


def _ends(entry: Any, scale: Scale, where: str) -> tuple[float, float]:
    numbers = (
        isinstance(entry, list)
        and len(entry) == 2
        and all(type(value) in (int, float) for value in entry)
    )
    if not numbers:
        raise Refusal(invalid(where, entry, "[low, high], two numbers"))
    low, high = entry
    if max(abs(low), abs(high)) > LARGEST:
        raise Refusal(invalid(where, entry, f"numbers between -{LARGEST:g} and {LARGEST:g}"))
    if low >= high:
        raise Refusal(invalid(where, entry, "[low, high] with low < high"))
    if not all(in_domain(scale, value) for value in entry):
        domain = {
            "log": "numbers > 0",
            "one_minus_log": "numbers >= 0 and < 1",
            "log_integers": "two integers >= 1",
        }
        raise Refusal(invalid(where, entry, domain.get(scale, "two integers")))
    return low, high


def _integer(value: Any, least: int, most: int, where: str) -> int:
    if type(value) is not int or not least <= value <= most:
        raise Refusal(invalid(where, value, f"an integer >= {least} and <= {most}"))
    return value
