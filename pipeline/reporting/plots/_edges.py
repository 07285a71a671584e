"""Draw what is below a panel: an arrow at the lower edge, with its value above it."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes

from pipeline.reporting.plots._names import LINE_HEIGHT
from pipeline.reporting.style import TYPE

ARROW = 0.06  # height of an arrow at the edge, as a share of a panel
NUMBERS = (8, 21)  # points from an arrow up to its value, on the lower row and on the upper one
BELOW: dict[str, Any] = {"marker": "v", "markersize": 9, "markeredgecolor": "black"}


def draw_below(
    ax: Axes,
    places: Iterable[float],
    values: Iterable[str],
    rows: Iterable[int],
    color: str,
    share: float = 1.0,
) -> None:
    """Draw arrows at the lower edge, wherever the panel ends, with their values.

    Args:
        ax: The panel.
        places: The places of the arrows on the horizontal axis.
        values: The values as they are written.
        rows: The row of every value, as `value_rows` returns them.
        color: The color of the arrows.
        share: The size of marks and type as a share of the usual one.
    """
    # Heights are shares of the panel: its limits may change later.
    across = ax.get_xaxis_transform()
    arrow = {**BELOW, "markersize": share * BELOW["markersize"], "color": color}
    type_look: dict[str, Any] = {"fontsize": share * TYPE, "ha": "center", "va": "bottom"}
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # the reference may cross it
    for place, value, row in zip(places, values, rows, strict=True):
        ax.plot(place, ARROW, transform=across, zorder=4, **arrow)
        ax.annotate(
            value,
            (place, ARROW),
            (0, share * NUMBERS[row]),
            xycoords=across,
            textcoords="offset points",
            bbox=behind,
            zorder=4,
            **type_look,
        )


def value_rows(places: Iterable[float], values: Iterable[str], letter: float) -> list[int]:
    """Return the row of every value: 0 where it does not touch the one before, otherwise 1.

    Args:
        places: The middles of the values, ascending.
        values: The values as they are written.
        letter: The width of a letter, on the scale of the places.
    """
    rows: list[int] = []
    end = -math.inf  # of the last value on row 0
    for place, value in zip(places, values, strict=True):
        half = letter * (len(value) + 1) / 2
        row = 0 if place - half >= end else 1
        if row == 0:
            end = place + half
        rows.append(row)
    return rows


def clear_share(rows: Sequence[int], height: float, share: float = 1.0) -> float:
    """Return the share of a panel that arrows and their values need; 0 if there are none.

    Args:
        rows: The row of every value.
        height: The height of the panel, in points of type.
        share: The size of marks and type as a share of the usual one.
    """
    if not rows:
        return 0.0
    return ARROW + share * (NUMBERS[max(rows)] + LINE_HEIGHT) / height
