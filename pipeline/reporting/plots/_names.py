"""Write names beside points, where they hide the least, and at the ends of lines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reporting.style import GREY, TYPE

LETTER_WIDTH = 0.59 * TYPE  # points of type, on average
LINE_HEIGHT = 1.2 * TYPE  # points of type
DISTANCE = 8.0  # between a point and its name, in points of type
ROW_HEIGHT = 0.9 * LINE_HEIGHT  # between two places that are tried
ROWS = 6  # places that are tried above and below a point
STEPS_ASIDE = (1, 6, 12)  # places that are tried beside a point, on other rows, in distances
SHIFTS = (0.0, 0.2, -0.2, 0.4, -0.4)  # of centered names, in widths of the name
MARK = 5.0  # half the size of a point's marker, in points of type
COST_OUTSIDE = 1000.0  # of a name that leaves the panel
COST_NAME = 50.0  # of covering another name
COST_POINT = 6.0  # of covering a point
COST_ASIDE = 0.2  # of a distance to the side
COST_SHIFT = 2.0  # of a width to the side
COUNTED_POINTS = 3  # covered points that count, at most
LEADER: dict[str, Any] = {"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "shrinkB": 4}
GROUND: dict[str, Any] = {  # of a name: a stroke around its letters would make paths of them
    "bbox": {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6},
    "zorder": 6,
}

SHARE_ON_THE_LEFT = {"left": 0.0, "center": 0.5, "right": 1.0}  # by alignment

Box = tuple[float, float, float, float]  # left, bottom, right, top, in points


def write_names(
    figure: Figure,
    ax: Axes,
    names: Mapping[str, tuple[float, float]],
    obstacles: Sequence[tuple[float, float]] = (),
) -> None:
    """Write names beside their points, each where it covers the fewest points and other names.

    Call it when limits and legends are set: the places depend on the size of the panel.

    Args:
        figure: The figure of the panel.
        ax: The panel.
        names: The point of every name, in data coordinates.
        obstacles: Further points that are better not covered.
    """
    figure.draw_without_rendering()  # settles the size of the panel
    scale = 72 / figure.dpi
    points = np.array([*names.values(), *obstacles], dtype=float).reshape(-1, 2)
    places = scale * ax.transData.transform(points)
    frame = scale * np.array(ax.get_window_extent().extents)
    taken: list[Box] = []
    for (name, point), place in zip(names.items(), places, strict=False):
        offset, alignment, box = _cheapest_place(name, place, places, frame, taken)
        taken.append(box)
        is_on_other_row = offset[1] != 0
        look: dict[str, Any] = {"arrowprops": LEADER} if is_on_other_row else {}
        look |= {"ha": alignment, "va": "center", "textcoords": "offset points"}
        ax.annotate(name, point, offset, **look, **GROUND)


def write_ends(
    figure: Figure, ax: Axes, ends: Mapping[str, float], palette: Mapping[str, str]
) -> None:
    """Write the names of lines right of a panel, each at the height of its end or near to it.

    Call it when limits and legends are set.

    Args:
        figure: The figure of the panel.
        ax: The panel.
        ends: The height of the end of every line, in data coordinates.
        palette: The color of every name.
    """
    figure.draw_without_rendering()
    scale = 72 / figure.dpi
    low, high = (scale * bound for bound in ax.get_window_extent().intervaly)
    names = sorted(ends, key=lambda name: ends[name])
    heights = np.array([scale * ax.transData.transform((0, ends[name]))[1] for name in names])
    heights = heights.clip(low, high)
    places = _spread(heights, low, high)
    right = ax.get_yaxis_transform()
    for name, height, place in zip(names, heights, places, strict=True):
        point = ax.transData.inverted().transform((0, height / scale))
        look: dict[str, Any] = {"textcoords": "offset points", "va": "center", "xycoords": right}
        line = {**LEADER, "color": palette[name], "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)}
        offset = (2 * DISTANCE, place - height)
        ax.annotate(name, (1, point[1]), offset, color=palette[name], arrowprops=line, **look)


def _spread(heights: Any, low: float, high: float) -> Any:
    """Return heights, ascending ones, moved until they are a line apart, inside both bounds."""
    rows = np.arange(len(heights)) * LINE_HEIGHT
    moved_up = np.maximum.accumulate(heights - rows) + rows
    moved_down = np.minimum.accumulate((heights - rows)[::-1])[::-1] + rows
    middle = (moved_up + moved_down) / 2
    lowest = low + rows
    highest = np.maximum(high - rows[::-1], lowest)
    return np.clip(middle, lowest, highest)


def _cheapest_place(
    name: str, point: Any, points: Any, frame: Any, taken: Sequence[Box]
) -> tuple[tuple[float, float], str, Box]:
    """Return the offset of a name from its point that costs least, its alignment, and its box.

    Args:
        name: The name.
        point: Its point, as all places here in points of type.
        points: All points that are better not covered (points, 2).
        frame: The edges of the panel: left, bottom, right, top.
        taken: The boxes of the names before.
    """
    width = LETTER_WIDTH * len(name)
    choices = []
    for row in sorted(range(-ROWS, ROWS + 1), key=abs):
        for aside, alignment, cost in _sides(width, is_beside=row == 0):
            offset = (aside, row * ROW_HEIGHT)
            box = _box(width, point, offset, alignment)
            total = cost + abs(row) + _cost_of_points(box, points)
            total += COST_NAME * len([other for other in taken if _overlaps(box, other)])
            total += COST_OUTSIDE * _is_outside(box, frame)
            choices.append((total, offset, alignment, box))
    _, offset, alignment, box = min(choices, key=lambda choice: choice[0])
    return offset, alignment, box


def _sides(width: float, *, is_beside: bool) -> list[tuple[float, str, float]]:
    """Return the places of a name on a row: offset to the side, alignment, cost.

    Args:
        width: The width of the name, in points of type.
        is_beside: Whether the row is that of the point, which a centered name would hide.
    """
    places = [
        (side * step * DISTANCE, alignment, COST_ASIDE * step)
        for step in STEPS_ASIDE[: 1 if is_beside else None]
        for side, alignment in ((1, "left"), (-1, "right"))
    ]
    if is_beside:
        return places
    return places + [(width * shift, "center", COST_SHIFT * abs(shift)) for shift in SHIFTS]


def _box(width: float, point: Any, offset: tuple[float, float], alignment: str) -> Box:
    """Return the box of a name with a width, at an offset from its point."""
    left = point[0] + offset[0] - width * SHARE_ON_THE_LEFT[alignment]
    middle = point[1] + offset[1]
    return left, middle - LINE_HEIGHT / 2, left + width, middle + LINE_HEIGHT / 2


def _cost_of_points(box: Box, points: Any) -> float:
    """Return what it costs to write over points or their markers."""
    low, high = np.array(box[:2]) - MARK, np.array(box[2:]) + MARK
    is_covered = ((points > low) & (points < high)).all(axis=1)
    return COST_POINT * min(len(points[is_covered]), COUNTED_POINTS)


def _overlaps(box: Box, other: Box) -> bool:
    """Return whether two boxes share a place."""
    is_across = box[0] < other[2] and other[0] < box[2]
    is_along = box[1] < other[3] and other[1] < box[3]
    return is_across and is_along


def _is_outside(box: Box, frame: Any) -> bool:
    """Return whether a box leaves the panel."""
    is_inside = box[0] >= frame[0] and box[1] >= frame[1]
    return not (is_inside and box[2] <= frame[2] and box[3] <= frame[3])
