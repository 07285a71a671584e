"""Draw the gap against test accuracy: runs and means of every arm."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.config.plan import BASELINE
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.plots._names import write_names
from pipeline.reporting.style import (
    GREY,
    WIDTH,
    Look,
    arm_looks,
    legend_columns,
    look_handles,
    style,
)

QUARTILES = 4  # times the distance of the quartiles that an axis goes beyond them
AXES = ("gap", "test_accuracy")
NAMED = 14  # arms whose names stand beside their means
RUN: dict[str, Any] = {"alpha": 0.35, "linewidth": 0}
MEAN: dict[str, Any] = {"linewidth": 1.2, "edgecolor": "black"}
RUN_SIZE, MEAN_SIZE = 20, 90  # of markers, in points of type squared


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the scatter plot."""
    means = data.arms.pivot(index=["study", "arm"], columns="metric", values="mean").reset_index()
    shown = {BASELINE, *data.distinct["label"]}
    runs, means = (
        frame[frame["label"].isin(shown)] for frame in map(data.labelled, (data.outcomes, means))
    )
    yield "gap", scatter(runs, means, arm_looks(data))


def scatter(runs: pd.DataFrame, means: pd.DataFrame, looks: Mapping[str, Look]) -> Figure:
    """Return a figure with runs small and means large.

    Args:
        runs: Columns label, arm, gap and test_accuracy, the latter as fractions.
        means: The same without arm.
        looks: The color and marker of every arm. Where many arms have one look, names beside the
            means tell them apart; the legend has what color and marker mean.
    """
    arms = dict(zip(runs["label"], runs["arm"], strict=True))
    is_named = len(arms) <= NAMED
    handles = look_handles(looks[arm] for arm in arms.values())
    if is_named and {handle.get_label() for handle in handles} == set(arms.values()):
        handles = []  # the names are beside the means
    handles += _size_handles() if arms else []
    with style():
        columns = legend_columns([str(handle.get_label()) for handle in handles], handle=0.5)
        rows = -(-len(handles) // columns) if handles else 0
        figure = Figure(figsize=(WIDTH, 4.6 + 0.28 * rows), layout="constrained")
        ax = figure.subplots()
        spots = runs.assign(**{name: 100 * runs[name] for name in AXES})
        for label, arm in arms.items():
            mean = means[means["label"] == label]
            draw_arm(ax, spots[spots["label"] == label], mean, looks[arm])
        ax.set(xlabel="gap: train minus validation accuracy (points)", ylabel="test accuracy (%)")
        outside = zoom(ax, spots)
        if outside:
            ax.set_title(f"{outside} of {len(spots)} runs lie outside", fontweight="normal")
        if handles:
            space = {"handletextpad": 0.2, "columnspacing": 1.2}
            figure.legend(handles=handles, loc="outside lower center", ncols=columns, **space)
        if is_named and len(means):
            centres = means.set_index("label")[list(AXES)] * 100
            places = {label: tuple(centres.loc[label]) for label in arms}
            write_names(figure, ax, {label: (x, y) for label, (x, y) in places.items()})
    return figure


def draw_arm(ax: Axes, runs: pd.DataFrame, mean: pd.DataFrame, look: Look) -> None:
    """Draw the runs of one arm (percent) and their mean (fractions)."""
    marks: dict[str, Any] = {"color": look.color, "marker": look.marker}
    ax.scatter(runs["gap"], runs["test_accuracy"], s=RUN_SIZE, **RUN, **marks)
    ax.scatter(
        100 * mean["gap"], 100 * mean["test_accuracy"], s=MEAN_SIZE, zorder=3, **MEAN, **marks
    )


def _size_handles() -> list[Line2D]:
    """Return the entries of a legend that say what is small and what is large."""
    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "color": GREY}
    edge = {"markeredgecolor": MEAN["edgecolor"], "markeredgewidth": MEAN["linewidth"]}
    return [
        Line2D([], [], markersize=RUN_SIZE**0.5, label="small: a run", **dot),
        Line2D([], [], markersize=MEAN_SIZE**0.5, label="large: mean", **dot, **edge),
    ]


def zoom(ax: Axes, spots: pd.DataFrame) -> int:
    """Limit the axes to where most runs lie; return how many runs are outside.

    Otherwise one collapsed arm would squeeze all others.
    """
    outside = pd.Series(data=False, index=spots.index)
    for name, side in zip(AXES, "xy", strict=True):
        values = spots[name].dropna()
        if values.empty:
            continue
        low, high = values.quantile([0.25, 0.75])
        reach = QUARTILES * (high - low)
        least, most = max(values.min(), low - reach), min(values.max(), high + reach)
        outside |= (spots[name] < least) | (spots[name] > most)
        room = 0.05 * (most - least) or 1.0
        ax.set(**{f"{side}lim": (least - room, most + room)})
    return int(outside.sum())
