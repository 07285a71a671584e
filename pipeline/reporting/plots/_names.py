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
COST_OUTSIDE = 1000.0  # of a name that leaves the panel
COST_NAME = 50.0  # of covering another name
COST_POINT = 3.0  # of covering a point
COUNTED_POINTS = 3  # covered points that count, at most
LEADER: dict[str, Any] = {"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "shrinkB": 4}
GROUND: dict[str, Any] = {  # of a name: a stroke around its letters would make paths of them
    "bbox": {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6},
    "zorder": 6,
}

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
        offset, box = _cheapest_place(name, place, places, frame, taken)
        taken.append(box)
        is_on_other_row = offset[1] != 0
        look: dict[str, Any] = {"arrowprops": LEADER} if is_on_other_row else {}
        look["ha"] = ("center", "left", "right")[int(np.sign(offset[0]))]
        ax.annotate(name, point, offset, textcoords="offset points", va="center", **look, **GROUND)


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
) -> tuple[tuple[float, float], Box]:
    """Return the offset of a name from its point that costs least, and the box of the name.

    Args:
        name: The name.
        point: Its point, as all places here in points of type.
        points: All points that are better not covered (points, 2).
        frame: The edges of the panel: left, bottom, right, top.
        taken: The boxes of the names before.
    """
    choices = []
    for row in sorted(range(-ROWS, ROWS + 1), key=abs):
        sides = (1, -1, 0) if row else (1, -1)
        for side in sides:
            offset = (side * DISTANCE, row * ROW_HEIGHT)
            box = _box(name, point, offset)
            cost = abs(row) + _cost_of_points(box, points)
            cost += COST_NAME * len([other for other in taken if _overlaps(box, other)])
            cost += COST_OUTSIDE * _is_outside(box, frame)
            choices.append((cost, offset, box))
    _, offset, box = min(choices, key=lambda choice: choice[0])
    return offset, box


def _box(name: str, point: Any, offset: tuple[float, float]) -> Box:
    """Return the box of a name: right of its place, left of it, or centered, by the offset."""
    width = LETTER_WIDTH * len(name)
    share_on_the_left = (0.5, 0.0, 1.0)[int(np.sign(offset[0]))]
    left = point[0] + offset[0] - width * share_on_the_left
    middle = point[1] + offset[1]
    return left, middle - LINE_HEIGHT / 2, left + width, middle + LINE_HEIGHT / 2


def _cost_of_points(box: Box, points: Any) -> float:
    """Return what it costs to write over points."""
    is_covered = (points > box[:2]).all(axis=1) & (points < box[2:]).all(axis=1)
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
