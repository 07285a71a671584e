"""Convert between values and places on the scale of a search space."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Scale = Literal["uniform", "log", "one_minus_log", "integers", "log_integers"]
SCALES: tuple[Scale, ...] = get_args(Scale)
LARGEST = 700.0  # logarithm of a value that is still finite
WHOLE: tuple[Scale, ...] = ("integers", "log_integers")  # scales of whole numbers
# Significant digits of a value: of a grid, where those are equal or of a design, and the most.
DIGITS, FINE_DIGITS, MOST_DIGITS = 3, 6, 12


@dataclass(frozen=True)
class _Functions:
    forward: Callable[[float], float]
    backward: Callable[[float], float]


_LOG = _Functions(math.log, lambda place: math.exp(min(place, LARGEST)))
_OF: Mapping[Scale, _Functions] = {
    "uniform": _Functions(float, float),
    "log": _LOG,
    "one_minus_log": _Functions(lambda value: -math.log(1 - value), lambda x: 1 - math.exp(-x)),
    "integers": _Functions(float, float),
    "log_integers": _LOG,
}


def position(scale: Scale, value: float) -> float:
    """Return the place of a value on its scale; it increases with the value.

    Args:
        scale: uniform and integers: the value itself; log and log_integers: its logarithm;
            one_minus_log: minus the logarithm of 1 - value, for values near 1 such as a momentum.
        value: The value, within the domain of the scale.
    """
    return _OF[scale].forward(value)


def value_at(scale: Scale, place: float, digits: int = DIGITS) -> float | int:
    """Return the value at a place on a scale, rounded.

    Args:
        scale: The scale.
        place: What `position` returns.
        digits: Significant digits; on the scale one_minus_log those of 1 - value.
    """
    value = _OF[scale].backward(place)
    if scale in WHOLE:
        return round(value)
    if scale == "one_minus_log":
        return float(f"{1 - float(f'{1 - value:.{digits}g}'):.{MOST_DIGITS}g}")
    return float(f"{value:.{digits}g}")


def in_domain(scale: Scale, value: float) -> bool:
    """Return whether a scale is defined at a value.

    Args:
        scale: The name of the scale.
        value: The value.
    """
    if scale == "log":
        return value > 0
    if scale == "log_integers":
        return value >= 1 and float(value).is_integer()
    if scale == "one_minus_log":
        return 0 <= value < 1
    return scale == "uniform" or float(value).is_integer()
