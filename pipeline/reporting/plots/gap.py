"""Draw the gap against test accuracy: runs and means of every arm."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.config.plan import BASELINE
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.style import MARKERS, WIDTH, arm_colors, legend_columns, style

QUARTILES = 4  # times the distance of the quartiles that an axis goes beyond them
AXES = ("gap", "test_accuracy")


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the scatter plot."""
    means = data.arms.pivot(index=["study", "arm"], columns="metric", values="mean").reset_index()
    shown = {BASELINE, *data.distinct["label"]}
    runs, means = (
        frame[frame["label"].isin(shown)] for frame in map(data.labelled, (data.outcomes, means))
    )
    yield "gap", scatter(runs, means, arm_colors(data))


def scatter(runs: pd.DataFrame, means: pd.DataFrame, palette: Mapping[str, str]) -> Figure:
    """Return a figure with runs small and means large.

    `runs` has label, arm, gap and test_accuracy, `means` the same without arm, all fractions.
    """
    names = dict(zip(runs["label"], runs["arm"], strict=True))
    with style():
        columns = legend_columns(names, handle=0.5)
        rows = -(-len(names) // columns)
        figure = Figure(figsize=(WIDTH, 4.6 + 0.28 * rows), layout="constrained")
        ax = figure.subplots()
        spots = runs.assign(**{name: 100 * runs[name] for name in AXES})
        for (label, arm), marker in zip(names.items(), itertools.cycle(MARKERS), strict=False):
            mean = means[means["label"] == label]
            draw_arm(ax, spots[spots["label"] == label], mean, palette[arm], marker)
        ax.set(xlabel="gap: train minus validation accuracy (points)", ylabel="test accuracy (%)")
        outside = zoom(ax, spots)
        if outside:
            ax.set_title(f"{outside} of {len(spots)} runs lie outside", fontweight="normal")
        if names:
            look = {"handletextpad": 0.2, "columnspacing": 1.2}
            figure.legend(loc="outside lower center", ncols=columns, **look)
    return figure


def draw_arm(ax: Axes, runs: pd.DataFrame, mean: pd.DataFrame, color: str, marker: str) -> None:
    """Draw the runs of one arm (percent) and their mean (fractions)."""
    look: dict[str, Any] = {"color": color, "marker": marker}
    ax.scatter(runs["gap"], runs["test_accuracy"], s=26, alpha=0.4, linewidth=0, **look)
    spot: dict[str, Any] = {"s": 130, "linewidth": 1.2, "edgecolor": "black", "zorder": 3}
    label = str(mean["label"].iloc[0])
    ax.scatter(100 * mean["gap"], 100 * mean["test_accuracy"], label=label, **spot, **look)


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
