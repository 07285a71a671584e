"""Numbers and frames as Markdown.

Separate because every page and figure must spell a number the same way: accuracy in percent, differences
in points with their sign, a p-value never as 0.000, a missing value as a dash.
"""

import math
import re
from collections.abc import Sequence

import pandas as pd

from pipeline.comparison.intervals import LEVEL

CONFIDENCE = f"{100 * (1 - LEVEL):g} %"
INTERVAL = f"{CONFIDENCE} interval"
VOID = "–"
FINE = (
    0.002  # half an interval; below it (0.2 points) one decimal of a percent would hide the result
)
PREFIXES = ("", " k", " M", " G", " T", " P", " E")
NUMBER = re.compile(r"^(-|\+|<|≥)? ?\d.*|^–$")


def table(frame: pd.DataFrame, caption: str) -> str:
    """A Markdown table of a frame of texts, its caption in the line below; columns of numbers stand right."""
    numeric = [all(NUMBER.match(cell) for cell in frame[column]) for column in frame]
    lines = [
        _line(list(frame.columns)),
        _line(["---:" if right else "---" for right in numeric]),
        *(_line(list(row)) for row in frame.itertuples(index=False, name=None)),
    ]
    return "\n".join([*lines, "", f"*{caption}*"])


def text(value: str) -> str:
    """Free text as one line that Markdown neither splits into cells nor reads as a tag or as emphasis."""
    return re.sub(r"([|*`\[\]\\])", r"\\\1", " ".join(value.split())).replace("<", "&lt;")


def decimals(contrasts: pd.DataFrame) -> int:
    """How many decimals of a percent a report shows: one, or two where its intervals are so narrow."""
    half = ((contrasts["high"] - contrasts["low"]) / 2).median()
    return 2 if half < FINE else 1


def percent(value: float, digits: int = 1) -> str:
    """A fraction in percent, without the sign: 0.9124 is 91.2."""
    return decimal(100 * value, digits)


def points(value: float, digits: int = 1) -> str:
    """A difference of fractions in percentage points, signed: 0.0125 is +1.3, and what rounds to zero has no sign."""
    return signed(100 * value, digits)


def findable(difference: float, digits: int) -> str:
    """A detectable difference in points; beyond 100 there is none."""
    return "none possible" if difference > 1 else percent(difference, digits)


def amount(value: float) -> str:
    """A fraction as a number of points, spelled as short as it is exact: 1 point, 0.5 points."""
    shown = f"{100 * value:g}"
    return f"{shown} point" if shown == "1" else f"{shown} points"


def signed(value: float, digits: int) -> str:
    """A number with its sign; what rounds to zero has none."""
    if math.isnan(value):
        return VOID
    shown = f"{value:+.{digits}f}"
    return shown if float(shown) else shown[1:]


def points_interval(low: float, high: float, digits: int = 1) -> str:
    """An interval of fractions in points: [+0.4, +1.9]."""
    return _interval(points(low, digits), points(high, digits))


def percent_interval(low: float, high: float, digits: int = 1) -> str:
    """An interval of fractions in percent: [90.4, 91.9]."""
    return _interval(percent(low, digits), percent(high, digits))


def signed_interval(low: float, high: float, digits: int) -> str:
    """An interval of plain numbers: [-0.041, +0.002]."""
    return _interval(signed(low, digits), signed(high, digits))


def decimal_interval(low: float, high: float, digits: int) -> str:
    """An interval of plain numbers without sign: [0.352, 0.401]."""
    return _interval(decimal(low, digits), decimal(high, digits))


def decimal(value: float, digits: int) -> str:
    """A plain number with fixed decimals; what rounds to zero is 0, never -0."""
    if math.isnan(value):
        return VOID
    shown = f"{value:.{digits}f}"
    return shown if float(shown) else shown.lstrip("-")


def p_value(value: float) -> str:
    """Three decimals, more where these would read as 0.050, and never 0.000."""
    if math.isnan(value):
        return VOID
    if value < 0.001:
        return "< 0.001"
    shown = f"{value:.3f}"
    return f"{value:.4f}" if shown == "0.050" else shown


def counted(number: int, noun: str, ending: str = "s") -> str:
    """A number of things: 1 run, 2 runs."""
    return f"{number} {noun}" + ending * (number != 1)


def listed(names: Sequence[str]) -> str:
    """Names as prose: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def count(value: float) -> str:
    """Operations with a prefix and three digits: 1.23 G."""
    if math.isnan(value) or value < 0:
        return VOID
    exponent = int(f"{value:.2e}".partition("e")[2])
    step = min(max(exponent // 3, 0), len(PREFIXES) - 1)
    digits = 0 if step == 0 else max(2 - (exponent - 3 * step), 0)
    return f"{value / 1000**step:.{digits}f}{PREFIXES[step]}"


def ratio(value: float) -> str:
    """A cost as a multiple of the baseline's."""
    return VOID if math.isnan(value) else f"{value:.2f}"


def measure(value: float) -> str:
    """A number of unknown size with four digits."""
    if math.isnan(value):
        return VOID
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _interval(low: str, high: str) -> str:
    return "" if VOID in (low, high) else f"[{low}, {high}]"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
