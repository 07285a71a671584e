"""Draw test accuracy against the costs of training and test, the efficient choices joined."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.comparison.levels import ARM, AVERAGED, ENSEMBLE
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.labels import efficiency_name
from pipeline.reporting.plots._names import write_names
from pipeline.reporting.style import DARK, GREY, WIDTH, Look, arm_looks, look_handles, style

HEIGHT = 6.2  # inches
SIZES = {ARM: 8.0, AVERAGED: 5.0, ENSEMBLE: 11.0}  # of markers, in points
OF_ENSEMBLES = Look(DARK, "*", ENSEMBLE)
PANELS = {
    "training_ratio": ("efficient_training", "training cost (x baseline)"),
    "test_ratio": ("efficient_test", "cost of a test example (x baseline)"),
}
STEPS = 20  # points on a line that no name should cover
ARROW = (0.01, 0.15)  # ends of an arrow down, as shares of the height of a panel
BELOW = 0.15  # of the range of accuracies of arms: how far down the axis goes


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
    arms = table.loc[table["kind"] == ARM, "accuracy"]
    floor = arms.min() - BELOW * max(table["accuracy"].max() - arms.min(), 0.001)
    shown, lower = table[table["accuracy"] >= floor], table[table["accuracy"] < floor]
    with style():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        panels = figure.subplots(len(PANELS))
        for ax, (cost, (efficient, label)) in zip(panels, PANELS.items(), strict=True):
            draw_costs(ax, shown, cost, efficient, looks)
            _draw_lower(ax, lower, cost, looks)
            ax.set_xlabel(label)
            ax.set_ylabel("test accuracy (%)")
            ax.set_ylim(bottom=100 * floor)
        _add_legend(figure, shown, looks, has_lower=not lower.empty)
        for ax, (cost, (efficient, _)) in zip(panels, PANELS.items(), strict=True):
            points = list(zip(shown[cost], 100 * shown["accuracy"], strict=True))
            front = _front(shown, cost, efficient)
            names = {
                efficiency_name(row): (row[cost], 100 * row["accuracy"])
                for row in front.to_dict("records")
            }
            write_names(
                figure, ax, names, [*points, *_steps(front, cost), *_arrows(ax, lower, cost)]
            )
    return figure


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
    front = _front(table, cost, efficient)
    line: dict[str, Any] = {"color": GREY, "linewidth": 1.2, "zorder": 1, "drawstyle": "steps-post"}
    ax.plot(front[cost], 100 * front["accuracy"], **line)
    for row in table.to_dict("records"):
        look = _look(row, looks)
        face = look.color if row[efficient] else "white"
        marks: dict[str, Any] = {"marker": look.marker, "markersize": SIZES[row["kind"]]}
        ax.plot(row[cost], 100 * row["accuracy"], color=look.color, markerfacecolor=face, **marks)
    ax.set_xscale("log")
    ax.margins(x=0.06, y=0.12)
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100) if _inside(tick, table[cost])]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)


def _draw_lower(ax: Axes, table: pd.DataFrame, cost: str, looks: Mapping[str, Look]) -> None:
    """Draw an arrow down to the axis, at its cost, for each accuracy that is below it."""
    for row in table.to_dict("records"):
        arrow = {"arrowstyle": "->", "color": _look(row, looks).color, "linewidth": 1.8}
        low, high = ((row[cost], height) for height in ARROW)
        ends: dict[str, Any] = {"xy": low, "xytext": high}
        ends["xycoords"] = ends["textcoords"] = ax.get_xaxis_transform()
        ax.annotate("", arrowprops=arrow, **ends)


def _arrows(ax: Axes, table: pd.DataFrame, cost: str) -> list[tuple[float, float]]:
    """Return points on the arrows of `_draw_lower`."""
    bottom, top = ax.get_ylim()
    heights = bottom + (top - bottom) * np.linspace(*ARROW, 3)
    return [(float(place), float(height)) for place in table[cost] for height in heights]


def _front(table: pd.DataFrame, cost: str, efficient: str) -> pd.DataFrame:
    """Return the efficient rows by cost, those of the same accuracy once."""
    rows = table[table[efficient].astype(bool)].sort_values([cost, "accuracy"])
    return rows.drop_duplicates("accuracy")


def _steps(front: pd.DataFrame, cost: str) -> list[tuple[float, float]]:
    """Return points on the line that joins the efficient rows, from each to the next cost."""
    costs, heights = list(front[cost]), list(100 * front["accuracy"])
    return [
        (float(place), height)
        for low, high, height in zip(costs, costs[1:], heights, strict=False)
        for place in np.geomspace(low, high, STEPS)[1:]
    ]


def _look(row: Mapping[str, Any], looks: Mapping[str, Look]) -> Look:
    return OF_ENSEMBLES if row["kind"] == ENSEMBLE else looks[row["name"]]


def _inside(tick: float, costs: pd.Series) -> bool:
    return bool(0.8 * costs.min() <= tick <= 1.25 * costs.max())


def _add_legend(
    figure: Figure, table: pd.DataFrame, looks: Mapping[str, Look], *, has_lower: bool
) -> None:
    """Write what colors and markers mean, then sizes and filling."""
    kinds = set(table["kind"])
    rows = table.to_dict("records")
    handles = look_handles(_look(row, looks) for row in rows)
    dot: dict[str, Any] = {"linestyle": "", "marker": "o", "color": GREY}
    words = {ARM: "large: arm", AVERAGED: f"small: {AVERAGED}"}
    handles += [
        Line2D([], [], markersize=SIZES[kind], label=label, **dot)
        for kind, label in words.items()
        if AVERAGED in kinds
    ]
    handles.append(Line2D([], [], color=GREY, linewidth=1.2, label="efficient (filled)"))
    if has_lower:
        down = {"marker": r"$\downarrow$", "markersize": 10}
        handles.append(Line2D([], [], label="lower than shown", **dot | down))
    place: dict[str, Any] = {"handlelength": 1.2, "columnspacing": 1.2}
    figure.legend(handles=handles, ncols=4, loc="outside lower center", **place)
