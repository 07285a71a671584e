"""Write names beside points, where they hide the least, and at the ends of lines.

All lengths are in points of type, 1/72 inch, so that a place does not depend on the resolution.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

from pipeline.reporting.style import GREY, TYPE

LINE_HEIGHT = 1.2 * TYPE
WIDER = 1.04  # times the width of its outlines is that of a drawn name, at most
DISTANCE = 8.0  # between a point and its name
ROW_HEIGHT = 0.9 * LINE_HEIGHT  # between two places that are tried
ROWS = 6  # places that are tried above and below a point
STEPS_ASIDE = (1, 6, 12)  # places that are tried beside a point, on other rows, in distances
SHIFTS = (0.0, 0.2, -0.2, 0.4, -0.4)  # of centered names, in widths of the name
MARK = 5.0  # half the size of a point's marker
# What a place costs, beside 1 for each row that it is away from its point:
COST_OUTSIDE = 1000.0  # of a name that leaves the panel
COST_NAME = 50.0  # of covering another name
COST_POINT = 6.0  # of covering a point
COST_RUN = 1.5  # of covering a point of less importance
COST_ASIDE = 0.2  # of a distance to the side
COST_SHIFT = 2.0  # of a width to the side
COST_LEADER = 20.0  # of a line from a name to its point that crosses another name
COUNTED_POINTS = 3  # covered points that count, at most
COUNTED_RUNS = 6  # covered points of less importance that count, at most
LEADER_POINTS = 12  # of a line from a name to its point, which other names should not cover
LEADER: dict[str, Any] = {"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "shrinkB": 4}
FRONT: dict[str, Any] = {"zorder": 6}  # of a name; a white ground would hide marks

SHARE_ON_THE_LEFT = {"left": 0.0, "center": 0.5, "right": 1.0}  # by alignment

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """The edges of a rectangle."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: "Box") -> bool:
        """Return whether two boxes share a place."""
        is_beside = self.right <= other.left or other.right <= self.left
        is_above = self.top <= other.bottom or other.top <= self.bottom
        return not (is_beside or is_above)

    def contains(self, other: "Box") -> bool:
        """Return whether the other box does not leave this one."""
        is_inside = self.left <= other.left and self.bottom <= other.bottom
        return is_inside and other.right <= self.right and other.top <= self.top

    def is_covered(self, points: Floats, margin: float = 0.0) -> NDArray[np.bool_]:
        """Return a mask of the points (points, 2) that are inside, or nearer than a margin."""
        low = np.array([self.left, self.bottom]) - margin
        high = np.array([self.right, self.top]) + margin
        is_inside: NDArray[np.bool_] = np.all((points > low) & (points < high), axis=1)
        return is_inside

    def covered(self, points: Floats) -> int:
        """Return the number of points that are inside, or so near that their markers are."""
        return len(points[self.is_covered(points, MARK)])

    def leader(self, point: Floats) -> Floats:
        """Return points (points, 2) on the line from here to a point."""
        middle = np.array([self.left + self.right, self.bottom + self.top]) / 2
        line: Floats = np.linspace(point, middle, LEADER_POINTS)
        return line[~self.is_covered(line)]


@dataclass(frozen=True)
class Place:
    """Where a name may stand.

    Attributes:
        aside: How far it is to the right of its point; negative to the left.
        above: How far its middle is above its point.
        alignment: Which of its ends is there: left, center or right.
        cost: What its distance from the point costs.
    """

    aside: float
    above: float
    alignment: str
    cost: float

    def box(self, point: Floats, width: float) -> Box:
        """Return the box of a name with a width."""
        left = point[0] + self.aside - width * SHARE_ON_THE_LEFT[self.alignment]
        middle = point[1] + self.above
        return Box(left, middle - LINE_HEIGHT / 2, left + width, middle + LINE_HEIGHT / 2)


def write_names(
    figure: Figure,
    ax: Axes,
    names: Mapping[str, tuple[float, float]],
    obstacles: Sequence[tuple[float, float]] = (),
    runs: Sequence[tuple[float, float]] = (),
) -> None:
    """Write names beside their points, each where it covers the fewest points and other names.

    Names are placed in their order; a name does not move for later ones. Call it when limits and
    legends are set: the places depend on the size of the panel.

    Args:
        figure: The figure of the panel.
        ax: The panel.
        names: The point of every name, in data coordinates.
        obstacles: Further points that are better not covered.
        runs: Points of less importance, of which names should cover few.
    """
    figure.draw_without_rendering()  # settles the size of the panel
    scale = 72 / figure.dpi
    given = np.array([*names.values(), *obstacles], dtype=float).reshape(-1, 2)
    points = scale * ax.transData.transform(given)
    small = scale * ax.transData.transform(np.array(runs, dtype=float).reshape(-1, 2))
    panel = Box(*(scale * np.array(ax.get_window_extent().extents)))
    taken: list[Box] = []
    leaders = np.empty((0, 2))
    for (name, given_point), point in zip(names.items(), points, strict=False):
        place, box = _cheapest_place(name, point, points, small, panel, taken, leaders)
        taken.append(box)
        if place.above:
            leaders = np.concatenate([leaders, box.leader(point)])
        look: dict[str, Any] = {"ha": place.alignment, "va": "center"}
        if place.above:  # on another row than its point
            look["arrowprops"] = LEADER
        offset = (place.aside, place.above)
        written = ax.annotate(
            name, given_point, offset, textcoords="offset points", **look, **FRONT
        )
        written.set_in_layout(False)  # otherwise the panel moves beneath its names


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
    figure.draw_without_rendering()  # settles the size of the panel
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


def _spread(heights: Floats, low: float, high: float) -> Floats:
    """Return heights, ascending ones, moved until they are a line apart, inside both bounds."""
    # Without the heights of the lines below, "a line apart" is the same as "not descending". There
    # are two ways to get this: to lift what is too low, from below, or to lower what is too high,
    # from above. Their mean moves a group of names as little up as down.
    rows = np.arange(len(heights)) * LINE_HEIGHT
    moved_up = np.maximum.accumulate(heights - rows) + rows
    moved_down = np.minimum.accumulate((heights - rows)[::-1])[::-1] + rows
    middle = (moved_up + moved_down) / 2
    lowest = low + rows
    highest = np.maximum(high - rows[::-1], lowest)
    inside: Floats = np.clip(middle, lowest, highest)
    return inside


def _cheapest_place(
    name: str,
    point: Floats,
    points: Floats,
    small: Floats,
    panel: Box,
    taken: Sequence[Box],
    leaders: Floats,
) -> tuple[Place, Box]:
    """Return the place of a name that costs least, the first of equal ones, and its box.

    Args:
        name: The name.
        point: Its point (2).
        points: All points that are better not covered (points, 2).
        small: Points of less importance (points, 2).
        panel: The panel.
        taken: The boxes of the names before.
        leaders: Points on the lines from these names to their points (points, 2).
    """
    width = WIDER * TextPath((0, 0), name, size=TYPE).get_extents().width
    choices = []
    for place in _places(width):
        box = place.box(point, width)
        total = place.cost + COST_POINT * min(box.covered(points), COUNTED_POINTS)
        total += COST_RUN * min(box.covered(small), COUNTED_RUNS)
        total += COST_NAME * len([other for other in taken if box.overlaps(other)])
        total += COST_OUTSIDE * (not panel.contains(box))
        leader = box.leader(point)
        crossed = [other for other in taken if other.is_covered(leader).any()]
        total += COST_LEADER * (len(crossed) + bool(box.is_covered(leaders).any()))
        choices.append((total, place, box))
    _, place, box = min(choices, key=lambda choice: choice[0])
    return place, box


def _places(width: float) -> Iterator[Place]:
    """Yield the places that are tried for a name of a width, the nearest rows first."""
    for row in sorted(range(-ROWS, ROWS + 1), key=abs):
        above = row * ROW_HEIGHT
        is_beside = row == 0
        for step in STEPS_ASIDE[:1] if is_beside else STEPS_ASIDE:
            aside, cost = step * DISTANCE, COST_ASIDE * step + abs(row)
            yield Place(aside, above, "left", cost)
            yield Place(-aside, above, "right", cost)
        if not is_beside:  # a centered name would hide its point
            for shift in SHIFTS:
                cost = COST_SHIFT * abs(shift) + abs(row)
                yield Place(width * shift, above, "center", cost)
