"""Find the unit of scores in a table, the better direction, and the margin."""

import math
import re
from enum import StrEnum

import pandas as pd

from pipeline.runtime.errors import Refusal

LOSSES = re.compile(r"loss|error|nll|mse|mae|perplexity|ppl|brier|\bece\b|\bfid\b|\bwer\b", re.I)


class Unit(StrEnum):
    """What scores are: fractions (0.93), percentages (93.0), or other numbers."""

    FRACTION = "fraction"
    PERCENT = "percent"
    NUMBER = "number"


MARGINS = {Unit.FRACTION: 0.01, Unit.PERCENT: 1.0}  # one point; other scores have no usual margin
WHOLE = {Unit.FRACTION: 1.0, Unit.PERCENT: 100.0}  # the score of a network that is always right


class Direction(StrEnum):
    """Which scores are better."""

    HIGHER = "higher"
    LOWER = "lower"

    @property
    def sign(self) -> int:
        """Return the factor by which a higher score is better, 1 or -1."""
        return 1 if self is Direction.HIGHER else -1


def direction_of(given: str | None, title: str, source: str) -> Direction:
    """Return which scores are better: higher ones, if nothing is given and the name is no loss.

    Args:
        given: `higher`, `lower`, or None.
        title: The name of the scores.
        source: What errors call the table.

    Raises:
        Refusal: The value is invalid, or the name is that of a loss and nothing is given.
    """
    if given:
        try:
            return Direction(given)
        except ValueError:
            raise Refusal(
                f"{source}: direction: invalid value {given!r}; expected higher or lower"
            ) from None
    if LOSSES.search(title):
        raise Refusal(
            f"{source}: {title}: reads like a loss; expected --lower if lower is better, "
            "or --higher"
        )
    return Direction.HIGHER


def unit_of(
    given: str | None, pairs: pd.DataFrame, direction: Direction, margin: float | None, source: str
) -> Unit:
    """Return the unit of scores; fractions are recognized where higher scores are better.

    Args:
        given: `fraction`, `percent`, `number`, or None.
        pairs: The pairs of scores, with `score` and `reference_score`.
        direction: Which scores are better.
        margin: The margin that is given, None without one.
        source: What errors call the table.

    Raises:
        Refusal: The value is invalid, scores cannot have this unit, or none can be recognized.
    """
    values = pairs[["score", "reference_score"]].stack().dropna().to_numpy(float)
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if given is not None:
        return _checked_unit(given, low, high, source)
    if direction is Direction.HIGHER and 0 <= low <= high <= 1:
        return Unit.FRACTION
    if margin is None:
        raise Refusal(
            f"{source}: scores from {low:g} to {high:g} are not taken for fractions; expected "
            "--margin, the largest difference that does not matter, or --unit percent or fraction"
        )
    return Unit.NUMBER


def _checked_unit(given: str, low: float, high: float, source: str) -> Unit:
    """Return the unit that is given, if scores from `low` to `high` can have it."""
    try:
        unit = Unit(given)
    except ValueError:
        raise Refusal(
            f"{source}: unit: invalid value {given!r}; expected one of {', '.join(Unit)}"
        ) from None
    largest = WHOLE.get(unit)
    if largest is not None and not 0 <= low <= high <= largest:
        raise Refusal(
            f"{source}: scores from {low:g} to {high:g}; "
            f"expected 0 to {largest:g} for --unit {unit}"
        )
    return unit


def margin_of(given: float | None, unit: Unit, source: str) -> float:
    """Return the margin of equivalence, one point if none is given.

    Args:
        given: The margin in the units of the scores, or None.
        unit: What scores are.
        source: What errors call the table.

    Raises:
        Refusal: The margin is out of range, or missing for scores that have no usual one.
    """
    if given is None:
        if unit not in MARGINS:
            raise Refusal(
                f"{source}: margin: missing; expected the largest difference that does not matter, "
                "in the units of the scores"
            )
        return MARGINS[unit]
    whole = WHOLE.get(unit, math.inf)
    if not 0 < given < whole:
        below = f" and < {whole:g}, such as {whole / 100:g} for a point" if unit in WHOLE else ""
        raise Refusal(f"{source}: margin: invalid value {given:g}; expected a number > 0{below}")
    return given
