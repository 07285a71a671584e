"""Draw test accuracy against the costs of training and test, the efficient choices joined."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.comparison.levels import ARM, AVERAGED, ENSEMBLE
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.labels import efficiency_name
from pipeline.reporting.style import DARK, GREY, WIDTH, arm_colors, style

HEIGHT = 5.6  # inches
MARKERS = {ARM: "o", AVERAGED: "D", ENSEMBLE: "^"}
SIZES = {ARM: 55, AVERAGED: 30, ENSEMBLE: 60}
PANELS = {
    "training_ratio": ("efficient_training", "training cost (x baseline)"),
    "test_ratio": ("efficient_test", "cost of a test image (x baseline)"),
}
BELOW = 0.15  # of the range of accuracies of arms: how far down the axis goes


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the figure, if any cost is known."""
    if not data.efficiency.empty:
        yield "cost_accuracy", cost_accuracy(data.efficiency, arm_colors(data))


def cost_accuracy(table: pd.DataFrame, palette: Mapping[str, str]) -> Figure:
    """Return a panel for each cost, with test accuracy in percent.

    Args:
        table: The table `efficiency`.
        palette: The color of every arm; ensembles are dark grey.
    """
    arms = table.loc[table["kind"] == ARM, "accuracy"]
    floor = arms.min() - BELOW * max(table["accuracy"].max() - arms.min(), 0.001)
    shown = table[table["accuracy"] >= floor]
    with style():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        panels = figure.subplots(len(PANELS))
        for ax, (cost, (efficient, label)) in zip(panels, PANELS.items(), strict=True):
            draw_costs(ax, shown, cost, efficient, palette)
            ax.set_xlabel(label)
            ax.set_ylabel("test accuracy (%)")
            ax.set_ylim(bottom=100 * floor)
        _add_legend(figure, shown, left_out=len(table) - len(shown))
    return figure


def draw_costs(
    ax: Axes, table: pd.DataFrame, cost: str, efficient: str, palette: Mapping[str, str]
) -> None:
    """Draw accuracies against one cost; rows that are efficient are joined and named.

    Args:
        ax: The axes.
        table: The table `efficiency`.
        cost: The column of the cost.
        efficient: The column that says which rows are joined.
        palette: The color of every arm.
    """
    front = table[table[efficient].astype(bool)].sort_values([cost, "accuracy"])
    front = front.drop_duplicates("accuracy")
    line: dict[str, Any] = {"color": GREY, "linewidth": 1.2, "zorder": 1, "drawstyle": "steps-post"}
    ax.plot(front[cost], 100 * front["accuracy"], **line)
    for row in table.to_dict("records"):
        color = palette.get(row["name"], DARK) if row["kind"] != ENSEMBLE else DARK
        face = color if row[efficient] else "white"
        look: dict[str, Any] = {"marker": MARKERS[row["kind"]], "s": SIZES[row["kind"]]}
        ax.scatter(
            [row[cost]], [100 * row["accuracy"]], facecolor=face, edgecolor=color, zorder=2, **look
        )
    ax.set_xscale("log")
    ax.margins(x=0.12, y=0.12)
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100) if _inside(tick, table[cost])]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    middle = front[cost].min() * (front[cost].max() / front[cost].min()) ** 0.5
    for place, row in enumerate(front.to_dict("records")):
        _write_name(ax, row, cost, above=place % 2 == 1, leftwards=row[cost] > middle)


def _write_name(
    ax: Axes, row: Mapping[str, Any], cost: str, *, above: bool, leftwards: bool
) -> None:
    """Write the name of a row above or below its point, towards the middle of the panel."""
    offset = (-8 if leftwards else 8, 5 if above else -5)
    look: dict[str, Any] = {
        "ha": "right" if leftwards else "left",
        "va": "bottom" if above else "top",
    }
    point = row[cost], 100 * row["accuracy"]
    ax.annotate(efficiency_name(row), point, offset, textcoords="offset points", **look)


def _inside(tick: float, costs: pd.Series) -> bool:
    return bool(0.8 * costs.min() <= tick <= 1.25 * costs.max())


def _add_legend(figure: Figure, table: pd.DataFrame, *, left_out: int) -> None:
    kinds = set(table["kind"])
    handles: list[Any] = [
        Line2D([], [], linestyle="", marker=marker, color=GREY, markersize=7, label=kind)
        for kind, marker in MARKERS.items()
        if kind in kinds
    ]
    handles.append(Line2D([], [], color=GREY, linewidth=1.2, label="efficient (filled)"))
    if left_out:
        handles.append(Line2D([], [], color="none", label=f"below the axis: {left_out}"))
    place: dict[str, Any] = {"handlelength": 1.2, "columnspacing": 1.2}
    figure.legend(handles=handles, ncols=len(handles), loc="outside lower center", **place)
