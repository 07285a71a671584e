"""Draw the claims that are judged in points, one line each with its interval and outcome."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from pipeline.comparison.verdicts import Outcome
from pipeline.records.tables import rows_of
from pipeline.reporting.claim_cells import drawn_claims
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.markdown import INTERVAL
from pipeline.reporting.style import DARK, FAMILIES, TYPE, WIDTH, style

ROW, FRAME = 0.24, 0.6  # inches of height: of a line, and of the axis below all lines
NAMES, WORDS = 3.1, 1.5  # inches of width for the names, and for the outcomes
LETTERS = 36  # of a name of the usual size; a longer one is smaller
SMALLEST = 7  # points of type; what is longer still is cut
FARTHER = 3  # times the reach of most intervals that the axis goes
ROOM, ROOM_BEYOND = 0.06, 0.12  # of what the axis shows, beyond it
SPACE = 7.0  # points of type between an interval and its numbers
LOOKS = {  # outcome: marker, color, and whether it is filled
    Outcome.SUPPORTED: ("o", FAMILIES["architecture"], True),
    Outcome.CONTRADICTED: ("X", FAMILIES["combination"], True),
    Outcome.INCONCLUSIVE: ("o", FAMILIES["data size"], False),
}
SIGNS = {"lower": "< 0", "higher": "> 0", "equal": "≈ 0", "not_lower": "≥ 0", "not_higher": "≤ 0"}


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the figure, if a claim is judged in points."""
    rows = drawn_claims(data.claims)
    if len(rows):
        yield "claims", claims(rows)


def claims(rows: pd.DataFrame) -> Figure:
    """Return a figure with a line for every claim, the first on top.

    Args:
        rows: Columns claim, expect, difference, low and high (fractions), and outcome.
    """
    height = ROW * len(rows) + FRAME
    with style():
        figure = Figure(figsize=(WIDTH, height))
        bottom, top = FRAME / height, 1 - 0.08 / height
        width = WIDTH - NAMES - WORDS
        ax = figure.add_axes((NAMES / WIDTH, bottom, width / WIDTH, top - bottom))
        draw_claims(ax, rows)
    return figure


def draw_claims(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw names, intervals and outcomes of claims into `ax`; see `claims`."""
    points = 100 * rows[["difference", "low", "high"]].to_numpy(float)
    left, right = _limits(points)
    ax.set_xlim(left, right)
    beside = blended_transform_factory(ax.transAxes, ax.transData)
    for height, (row, ends) in enumerate(zip(rows_of(rows), points, strict=True)):
        draw_claim(ax, Outcome(row["outcome"]), ends, height)
        expected = f"{SIGNS[row['expect']]}: {row['outcome']}"
        ax.text(1.03, height, expected, transform=beside, va="center", color=DARK)
    ax.axvline(0, color=DARK, linewidth=1.2, zorder=1)
    ax.set_yticks(range(len(rows)), [shorten(name) for name in rows["claim"]])
    for label in ax.get_yticklabels():
        label.set_fontsize(size_of(label.get_text()))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(f"points, with {INTERVAL}; right: expected, outcome")
    ax.grid(visible=False)


def draw_claim(ax: Axes, outcome: Outcome, ends: NDArray[np.float64], height: float) -> None:
    """Draw one claim; an end of its interval beyond the axis is an arrow with its number.

    Args:
        ax: The axes, with their limits.
        outcome: What was found.
        ends: The difference and both ends of its interval, in points.
        height: The line of the claim.
    """
    marker, color, filled = LOOKS[outcome]
    middle, low, high = ends
    left, right = ax.get_xlim()
    if left <= middle <= right:
        look: dict[str, Any] = {"edgecolor": color, "linewidth": 1.6, "zorder": 3}
        face = color if filled else "white"
        ax.scatter([middle], [height], s=45, marker=marker, facecolor=face, **look)
    ax.plot((low, high), [height, height], color=color, linewidth=1.5, zorder=2)
    if low < left or high > right:
        _write_numbers(ax, ends, height, color)


def _write_numbers(ax: Axes, ends: NDArray[np.float64], height: float, color: str) -> None:
    """Write the numbers of an interval that leaves the axis at its inner end, with an arrow."""
    middle, low, high = ends
    left, right = ax.get_xlim()
    numbers = f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]"
    is_left = low < left
    text = f"← {numbers}" if is_left else f"{numbers} →"
    inner = max(high, left) if is_left else min(low, right)
    side: Any = "left" if is_left else "right"
    offset = SPACE if is_left else -SPACE
    look: dict[str, Any] = {"ha": side, "va": "center", "color": color}
    ax.annotate(text, (inner, height), (offset, 0), textcoords="offset points", **look)


def _limits(points: NDArray[np.float64]) -> tuple[float, float]:
    """Return the limits of the axis: one wide interval must not compress all others.

    Args:
        points: The difference and both ends of its interval for every claim, in points (claims, 3).
    """
    reach = FARTHER * float(np.quantile(np.abs(points).max(axis=1), 0.75)) or 1.0
    near = [0.0, *points[np.abs(points) <= reach]]
    span = max(near) - min(near) or 1.0
    room_on_left = ROOM_BEYOND if points.min() < -reach else ROOM
    room_on_right = ROOM_BEYOND if points.max() > reach else ROOM
    return min(near) - room_on_left * span, max(near) + room_on_right * span


def size_of(name: str) -> float:
    """Return the size of a name in points of type, at which it fits on its line."""
    return min(TYPE, TYPE * LETTERS / len(name))


def shorten(name: str) -> str:
    """Return a name, cut where it is longer than a line allows."""
    longest = TYPE * LETTERS // SMALLEST
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
