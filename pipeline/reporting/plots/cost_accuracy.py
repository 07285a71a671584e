"""Draw test accuracy against the costs of training and test, the efficient choices joined."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.comparison.levels import ARM, AVERAGED, ENSEMBLE
from pipeline.records.tables import rows_of
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.labels import efficiency_name
from pipeline.reporting.plots._names import write_names
from pipeline.reporting.style import (
    DARK,
    GREY,
    WIDTH,
    Look,
    arm_looks,
    legend_columns,
    look_handles,
    style,
)

HEIGHT, ROW = 6.2, 0.24  # inches: of a figure, and of a row of a legend of more than SHORT rows
COLUMNS, SHORT = 4, 3  # of a legend whose names are short
LONGEST = 26  # letters of a short name
SIZES = {ARM: 8.0, AVERAGED: 5.0, ENSEMBLE: 11.0}  # of markers, in points
OF_ENSEMBLES = Look(DARK, "*", ENSEMBLE)
PANELS = {  # cost: the column of what is efficient by it, and the name of its axis
    "training_ratio": ("efficient_training", "training cost (x baseline)"),
    "test_ratio": ("efficient_test", "cost of a test example (x baseline)"),
}
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
LEAST_RATIO = 2  # of the largest cost to the smallest: an axis goes farther than less
FRONT: dict[str, Any] = {"color": GREY, "linewidth": 1.2}
STEPS = 20  # points on a line that no name should cover
ARROW = (0.01, 0.15)  # ends of an arrow down, as shares of the height of a panel
BELOW = 0.15  # of the range of accuracies of arms: how far down the axis goes

Point = tuple[float, float]


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the figure, if any cost is known."""
    if not data.efficiency.empty:
        yield "cost_accuracy", cost_accuracy(data.efficiency, arm_looks(data))


def cost_accuracy(table: pd.DataFrame, looks: Mapping[str, Look]) -> Figure:
    """Return a panel for each cost, with test accuracy in percent.

    Args:
        table: The table `efficiency`.
        looks: The color and marker of every arm.
    """
    floor = _floor(table)
    is_shown = table["accuracy"] >= floor
    shown, lower = table[is_shown], table[~is_shown]
    with style():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        panels = dict(zip(PANELS, figure.subplots(len(PANELS)), strict=True))
        for cost, ax in panels.items():
            efficient, label = PANELS[cost]
            draw_costs(ax, shown, cost, efficient, looks)
            _draw_lower(ax, lower, cost, looks)
            ax.set_xlabel(label)
            ax.set_ylabel("test accuracy (%)")
            ax.set_ylim(bottom=100 * floor)
        _add_legend(figure, shown, looks, has_lower=not lower.empty)
        for cost, ax in panels.items():  # when limits and legend are set
            _name_efficient(figure, ax, shown, lower, cost)
    return figure


def _floor(table: pd.DataFrame) -> float:
    """Return the lowest accuracy of an arm, less a margin: averages may be far below."""
    arms = table.loc[table["kind"] == ARM, "accuracy"]
    span = max(table["accuracy"].max() - arms.min(), 0.001)
    return float(arms.min() - BELOW * span)


def draw_costs(
    ax: Axes, table: pd.DataFrame, cost: str, efficient: str, looks: Mapping[str, Look]
) -> None:
    """Draw accuracies against one cost; rows that are efficient are joined.

    Args:
        ax: The axes.
        table: The table `efficiency`.
        cost: The column of the cost.
        efficient: The column that says which rows are joined.
        looks: The color and marker of every arm.
    """
    # The line is the best accuracy at no more than a cost: it rises only where a row is.
    front = _front(table, cost, efficient)
    ax.plot(front[cost], 100 * front["accuracy"], drawstyle="steps-post", zorder=1, **FRONT)
    for row in rows_of(table):
        look = _look(row, looks)
        face = look.color if row[efficient] else "none"  # hides no other mark
        marks: dict[str, Any] = {"marker": look.marker, "markersize": SIZES[row["kind"]]}
        ax.plot(row[cost], 100 * row["accuracy"], color=look.color, markerfacecolor=face, **marks)
    ax.set_xscale("log")
    ax.margins(x=0.06, y=0.12)
    low, high = table[cost].min(), table[cost].max()
    if high < LEAST_RATIO * low:  # one tick alone would not show the scale
        low, high = low / LEAST_RATIO, high * LEAST_RATIO
        ax.set_xlim(0.9 * low, 1.1 * high)
    ticks = [tick for tick in TICKS if 0.8 * low <= tick <= 1.25 * high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)


def _draw_lower(ax: Axes, table: pd.DataFrame, cost: str, looks: Mapping[str, Look]) -> None:
    """Draw an arrow down to the axis, at its cost, for each accuracy that is below it."""
    across = ax.get_xaxis_transform()  # costs, and shares of the height of the panel
    for row in rows_of(table):
        tip, end = ((row[cost], height) for height in ARROW)
        arrow = {"arrowstyle": "->", "color": _look(row, looks).color, "linewidth": 1.8}
        ax.annotate("", tip, end, xycoords=across, textcoords=across, arrowprops=arrow)


def _name_efficient(
    figure: Figure, ax: Axes, shown: pd.DataFrame, lower: pd.DataFrame, cost: str
) -> None:
    """Write the names of the efficient rows into a panel, clear of all marks.

    Args:
        figure: The figure.
        ax: The panel.
        shown: The rows that are drawn as points.
        lower: The rows that are drawn as arrows.
        cost: The column of the cost.
    """
    efficient, _ = PANELS[cost]
    front = _front(shown, cost, efficient)
    names = {efficiency_name(row): (row[cost], 100 * row["accuracy"]) for row in rows_of(front)}
    points = list(zip(shown[cost], 100 * shown["accuracy"], strict=True))
    obstacles = [*points, *_points_on_front(front, cost), *_points_on_arrows(ax, lower, cost)]
    write_names(figure, ax, names, obstacles)


def _front(table: pd.DataFrame, cost: str, efficient: str) -> pd.DataFrame:
    """Return the efficient rows by cost, rows of the same accuracy once."""
    rows = table[table[efficient].astype(bool)].sort_values([cost, "accuracy"])
    return rows.drop_duplicates("accuracy")


def _points_on_front(front: pd.DataFrame, cost: str) -> list[Point]:
    """Return points on the flat parts of the line that joins the efficient rows."""
    costs, heights = list(front[cost]), list(100 * front["accuracy"])
    return [
        (float(place), height)
        for low, high, height in zip(costs, costs[1:], heights, strict=False)
        for place in np.geomspace(low, high, STEPS)[1:]  # at equal distances on a log axis
    ]


def _points_on_arrows(ax: Axes, lower: pd.DataFrame, cost: str) -> list[Point]:
    """Return points on the arrows of `_draw_lower`: their ends and middles."""
    bottom, top = ax.get_ylim()
    heights = bottom + (top - bottom) * np.linspace(*ARROW, 3)
    return [(float(place), float(height)) for place in lower[cost] for height in heights]


def _look(row: Mapping[str, Any], looks: Mapping[str, Look]) -> Look:
    """Return the look of a row: that of its arm, or of ensembles."""
    return OF_ENSEMBLES if row["kind"] == ENSEMBLE else looks[row["name"]]


def _add_legend(
    figure: Figure, table: pd.DataFrame, looks: Mapping[str, Look], *, has_lower: bool
) -> None:
    """Write the meaning of colors and markers, then of sizes and filling."""
    handles = look_handles(_look(row, looks) for row in rows_of(table))
    dot: dict[str, Any] = {"linestyle": "", "marker": "o", "color": GREY}
    if AVERAGED in set(table["kind"]):  # otherwise all sizes are of arms
        sizes = {ARM: "large: arm", AVERAGED: f"small: {AVERAGED}"}
        handles += [
            Line2D([], [], markersize=SIZES[kind], label=label, **dot)
            for kind, label in sizes.items()
        ]
    handles.append(Line2D([], [], label="efficient (filled)", **FRONT))
    if has_lower:
        down = {"marker": r"$\downarrow$", "markersize": 10}
        handles.append(Line2D([], [], label="lower than shown", **dot | down))
    place: dict[str, Any] = {"handlelength": 1.2, "columnspacing": 1.2}
    names = [str(handle.get_label()) for handle in handles]
    columns = COLUMNS if max(map(len, names)) <= LONGEST else legend_columns(names)
    rows = math.ceil(len(handles) / columns)
    figure.set_figheight(HEIGHT + ROW * max(0, rows - SHORT))
    figure.legend(handles=handles, ncols=columns, loc="outside lower center", **place)
