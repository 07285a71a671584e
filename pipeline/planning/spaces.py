"""Read search spaces, list the values that they try, and widen them.

A space is a list of values, or a range on a scale with a number of points. Several spaces make a
grid, or a design of `search.trials` points that covers all of them at once.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

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
from pipeline.config.settings import Settings
from pipeline.config.streams import derive
from pipeline.config.validation import invalid, unknown_key
from pipeline.runtime.errors import Refusal

MOST_POINTS = 100  # of one space
MOST_SETTINGS = 1000  # of one arm
DIMENSIONS = 256  # of the Sobol sequence, whose projections on two of them are known to be good
BITS = 30  # of a coordinate of the sequence
DRAWS = 16  # times the settings of a design: so often it is drawn until they are distinct
STREAM = 0  # the seed of all designs: equal spaces have equal points in every arm
KEYS = ("points", "extend")
LARGEST = 1e100  # absolute value of an end of a range
ROUNDING = 0.05  # steps; a point of a grid is nearer to its place, however its value is rounded


class Search(Settings):
    """A design in place of a grid: points that cover all spaces of an arm at once.

    Attributes:
        method: sobol: quasi-random, a power of 2 points; random: independent draws.
        trials: The number of settings.
    """

    method: Literal["sobol", "random"]
    trials: int = Field(ge=2, le=MOST_SETTINGS)


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
        """Return the value at a quantile in [0, 1) on the scale; of a list, by number."""
        if self.scale is None:
            return self.values[int(quantile * len(self.values))]
        margin = 0.5 if self.scale in WHOLE else 0.0  # that rounding leaves the ends their share
        low = position(self.scale, self.low - margin)
        high = position(self.scale, self.high + margin)
        return value_at(self.scale, low + quantile * (high - low), FINE_DIGITS)

    def beyond(self, end: int, halvings: int = 0) -> Any:
        """Return the value one step beyond an end, None where the scale ends.

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
        """Return what divides every step between two values of a range into equal parts."""
        if self.scale is None:
            return []
        found = []
        for one, other in itertools.pairwise(self.values):
            low, high = position(self.scale, one), position(self.scale, other)
            places = np.linspace(low, high, parts + 1)[1:-1]
            found += [value_at(self.scale, float(place), FINE_DIGITS) for place in places]
        return found

    def with_value(self, value: Any) -> "Space":
        """Return the space with a further value, and one widening less."""
        ordered = tuple(sorted({*self.values, value}))
        left = self.extend - 1
        return replace(self, values=ordered, extend=left, widened=self.widened + 1)


def read_space(written: Any, where: str, listed: bool = False) -> Space | None:
    """Return the space that a value of a YAML file describes, None for a single value.

    Args:
        written: The value.
        where: Its file and key, for errors.
        listed: Whether a single value of the key is a list itself, so that a space is a list of
            lists.

    Raises:
        Refusal: The space is empty, or its range, scale or number of points is invalid.
    """
    if isinstance(written, list):
        if listed and not (written and all(isinstance(item, list) for item in written)):
            return None
        if not written:
            raise Refusal(invalid(where, written, "a list of length >= 1"))
        if len(written) > MOST_POINTS:
            raise Refusal(invalid(where, written, f"a list of length <= {MOST_POINTS}"))
        if any(value in written[:number] for number, value in enumerate(written)):
            raise Refusal(invalid(where, written, "each value once"))
        return Space(tuple(written))
    if not isinstance(written, dict) or not set(written) & {*SCALES, "points"}:
        return None
    return _range(written, where)


def grid(spaces: Sequence[Space]) -> list[tuple[Any, ...]]:
    """Return every combination of the values of spaces, the last one varying fastest."""
    return list(itertools.product(*(space.values for space in spaces)))


def size(spaces: Sequence[Space], widened: bool = False) -> int:
    """Return the number of settings of a grid, at most after all widenings if `widened`."""
    counts = [len(space.values) + (space.extend if widened else 0) for space in spaces]
    return int(np.prod(counts, dtype=float))


def design(spaces: Mapping[str, Space], search: Search) -> list[tuple[Any, ...]]:
    """Return the settings of a design, a value for each space, each setting once.

    On lists and integers several points may be the same setting. Then the design goes on until it
    has as many settings as it should, or has drawn `DRAWS` times as many points.

    Every hyperparameter draws from a stream of its own, so another one beside it moves none of its
    values.

    Args:
        spaces: The spaces by the full name of their key, as in dropout.rate.
        search: The method and the number of settings.
    """
    draw = _sobol if search.method == "sobol" else _random
    settings: dict[str, tuple[Any, ...]] = {}
    points = search.trials
    while len(settings) < search.trials and points <= DRAWS * search.trials:
        quantiles = draw(list(spaces), points)
        columns = [
            [space.at(quantile) for quantile in quantiles[name]] for name, space in spaces.items()
        ]
        settings = {json.dumps(row): row for row in zip(*columns, strict=True)}
        points *= 2
    return list(settings.values())[: search.trials]


def _range(written: Mapping[str, Any], where: str) -> Space:
    scales = [scale for scale in SCALES if scale in written]
    unknown = [key for key in written if key not in (*SCALES, *KEYS)]
    if unknown:
        raise Refusal(unknown_key(f"{where}.{unknown[0]}", [*SCALES, *KEYS]))
    if len(scales) != 1:
        raise Refusal(invalid(where, dict(written), f"one scale of {', '.join(SCALES)}"))
    scale = scales[0]
    low, high = _ends(written[scale], scale, f"{where}.{scale}")
    extend = _integer(written.get("extend", 2), 0, 10, f"{where}.extend")
    points = written.get("points")
    if points is None and scale != "integers":
        return Space((), scale, low, high, extend)
    if points is None:
        points = int(high - low) + 1
        if points > MOST_POINTS:
            raise Refusal(f"{where}.points: missing; expected an integer <= {MOST_POINTS}")
    count = _integer(points, 2, MOST_POINTS, f"{where}.points")
    places = np.linspace(position(scale, low), position(scale, high), count)
    ends = (int(low), int(high)) if scale in WHOLE else (low, high)
    for digits in (DIGITS, FINE_DIGITS, MOST_DIGITS):
        inner = (value_at(scale, float(place), digits) for place in places[1:-1])
        values = (ends[0], *inner, ends[1])
        if all(one < other for one, other in itertools.pairwise(values)):
            return Space(values, scale, low, high, extend, float(places[1] - places[0]))
    distinct = len(set(values))
    expected = f"an integer <= {distinct}, the number of different values"
    raise Refusal(invalid(f"{where}.points", count, expected))


def _ends(written: Any, scale: Scale, where: str) -> tuple[float, float]:
    numbers = (
        isinstance(written, list)
        and len(written) == 2
        and all(type(value) in (int, float) for value in written)
    )
    if not numbers:
        raise Refusal(invalid(where, written, "[low, high], two numbers"))
    low, high = written
    if max(abs(low), abs(high)) > LARGEST:
        raise Refusal(invalid(where, written, f"numbers between -{LARGEST:g} and {LARGEST:g}"))
    if low >= high:
        raise Refusal(invalid(where, written, "[low, high] with low < high"))
    if not all(in_domain(scale, value) for value in written):
        domain = {
            "log": "numbers > 0",
            "one_minus_log": "numbers >= 0 and < 1",
            "log_integers": "two integers >= 1",
        }
        raise Refusal(invalid(where, written, domain.get(scale, "two integers")))
    return low, high


def _integer(value: Any, least: int, most: int, where: str) -> int:
    if type(value) is not int or not least <= value <= most:
        raise Refusal(invalid(where, value, f"an integer >= {least} and <= {most}"))
    return value


def _random(names: Sequence[str], count: int) -> dict[str, np.ndarray]:
    return {
        name: np.random.default_rng(derive(STREAM, "search", name)).random(count) for name in names
    }


def _sobol(names: Sequence[str], count: int) -> dict[str, np.ndarray]:
    """Return points of a Sobol sequence, each coordinate shifted by bits from a stream of its own.

    A digital shift keeps the strata of the sequence. The coordinate of a name depends on the
    name alone, unless two names meet on the same one.
    """
    from scipy.stats import qmc  # slow, and needed for designs alone

    taken: dict[int, str] = {}
    for name in sorted(names):
        first = derive(STREAM, "dimension", name) % DIMENSIONS
        free = (number % DIMENSIONS for number in range(first, first + DIMENSIONS))
        taken[next(number for number in free if number not in taken)] = name
    points = qmc.Sobol(DIMENSIONS, scramble=False, bits=BITS).random_base2(count.bit_length() - 1)
    whole = (points * 2**BITS).astype(np.int64)
    shifts = {name: derive(STREAM, "search", name) % 2**BITS for name in names}
    return {
        name: ((whole[:, number] ^ shifts[name]) + 0.5) / 2**BITS for number, name in taken.items()
    }
