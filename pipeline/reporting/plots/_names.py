"""Write names beside points, where they hide the least, and at the ends of lines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reporting.style import GREY, TYPE

LETTER = 0.59 * TYPE  # points of width, on average
LINE = 1.2 * TYPE  # points of height
NEAR, STEP, ROWS = 8.0, 0.9 * LINE, 6  # points between a point and its name; lines to go away
OUTSIDE, COVERED = 1000.0, 50.0  # costs of leaving the panel, and of covering another name
HIDDEN, MOST = 3.0, 3  # cost of covering a point, and how many count
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
        offset, box = _best(name, place, places, frame, taken)
        taken.append(box)
        is_far = offset[1] != 0
        look: dict[str, Any] = {"arrowprops": LEADER} if is_far else {}
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
        offset = (2 * NEAR, place - height)
        ax.annotate(name, (1, point[1]), offset, color=palette[name], arrowprops=line, **look)


def _spread(heights: Any, low: float, high: float) -> Any:
    """Return heights, ascending ones, moved until they are a line apart, inside both bounds."""
    rows = np.arange(len(heights)) * LINE
    upward = np.maximum.accumulate(heights - rows) + rows
    downward = np.minimum.accumulate((heights - rows)[::-1])[::-1] + rows
    middle = np.maximum((upward + downward) / 2, low + rows)
    return np.minimum(middle, np.maximum(high - rows[::-1], low + rows))


def _best(
    name: str, place: Any, places: Any, frame: Any, taken: Sequence[Box]
) -> tuple[tuple[float, float], Box]:
    """Return the offset of a name from its point (points of type) that costs least, and its box."""
    choices = []
    for row in sorted(range(-ROWS, ROWS + 1), key=abs):
        for side in (1, -1, 0) if row else (1, -1):
            offset = (side * NEAR, row * STEP)
            box = _box(name, place, offset)
            cost = abs(row) + _hidden(box, places) + COVERED * _overlaps(box, taken)
            choices.append((cost + OUTSIDE * _leaves(box, frame), offset, box))
    _, offset, box = min(choices, key=lambda choice: choice[0])
    return offset, box


def _box(name: str, place: Any, offset: tuple[float, float]) -> Box:
    width, middle = LETTER * len(name), place[1] + offset[1]
    left = place[0] + offset[0] - width * (0.5, 0.0, 1.0)[int(np.sign(offset[0]))]
    return left, middle - LINE / 2, left + width, middle + LINE / 2


def _hidden(box: Box, places: Any) -> float:
    """Return what it costs to write over points."""
    inside = (places > box[:2]).all(axis=1) & (places < box[2:]).all(axis=1)
    return HIDDEN * min(len(places[inside]), MOST)


def _overlaps(box: Box, taken: Sequence[Box]) -> int:
    return len(
        [
            other
            for other in taken
            if box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
        ]
    )


def _leaves(box: Box, frame: Any) -> bool:
    inside = box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]
    return not inside
