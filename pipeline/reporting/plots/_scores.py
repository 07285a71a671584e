"""Draw scores against the number of members averaged, for `passes` and `ensemble_sizes`."""

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, MaxNLocator, NullLocator

from pipeline.config.test_rules import NOISE
from pipeline.reporting.style import BAND, DASHES, GREY, STAR, WIDTH, add_legend, style, wrap_title
from pipeline.reporting.units import METRICS

SCALES = {"accuracy": 100.0, "nll": 1.0}  # of a score on its axis
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
FEW = 10  # up to this number all have a tick and a marker; beyond, the axis is logarithmic


def score_curves(
    frame: pd.DataFrame,
    palette: Mapping[str, str],
    xlabel: str,
    reference: str,
    declared: Collection[str] = (),
) -> Figure:
    """Return a figure of test accuracy and NLL against a number, a row of two panels per label.

    `frame` has label, number, metric, mean, low and high (fractions or nats). Number 0 is the
    `reference`, a dashed line. `declared` names the labels whose test rule averages noise passes,
    which is starred. The panels of a metric share their scale.
    """
    labels = list(dict.fromkeys(frame["label"]))
    most = int(frame["number"].max())
    with style():
        figure = Figure(figsize=(WIDTH, 1.6 * len(labels) + 0.8), layout="constrained")
        panels = figure.subplots(len(labels), 2, squeeze=False, sharex=True, sharey="col")
        for row, label in zip(panels, labels, strict=True):
            for ax, metric in zip(row, SCALES, strict=True):
                rows = frame[(frame["label"] == label) & (frame["metric"] == metric)]
                rows = rows.sort_values("number")
                draw_scores(ax, rows, metric, palette[label], most)
                if label in declared:
                    draw_star(ax, rows[rows["number"] == NOISE.members], metric, palette[label])
            row[0].set_title(wrap_title(label))
        for ax in panels[-1]:
            set_number_axis(ax, most)
            ax.set_xlabel(xlabel)
        figure.align_ylabels(panels)
        add_legend(figure, _looks(most, reference, starred=bool(declared)))
    return figure


def draw_scores(ax: Axes, rows: pd.DataFrame, metric: str, color: str, most: int) -> None:
    """Draw one metric of one label with its band and its reference."""
    scale = SCALES[metric]
    for mean in scale * rows.loc[rows["number"] == 0, "mean"]:
        ax.axhline(mean, color=color, linestyle=DASHES, zorder=1)
    rows = rows[rows["number"] > 0]
    low, high = scale * rows["low"], scale * rows["high"]
    ax.fill_between(rows["number"], low, high, color=color, alpha=BAND, linewidth=0)
    ax.plot(rows["number"], scale * rows["mean"], color=color, **_marker(most))
    ax.set_ylabel(METRICS[metric].label)
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def draw_star(ax: Axes, rows: pd.DataFrame, metric: str, color: str) -> None:
    """Mark the number that the test rule averages."""
    means = SCALES[metric] * rows["mean"]
    ax.plot(rows["number"], means, color=color, linestyle="", zorder=5, **STAR)


def set_number_axis(ax: Axes, most: int) -> None:
    """Set ticks at whole numbers up to `most`."""
    if most > FEW:
        ax.set_xscale("log")
    ticks = TICKS if most > FEW else range(1, FEW + 1)
    ax.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick <= most]))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_locator(NullLocator())


def _looks(most: int, reference: str, *, starred: bool) -> dict[str, dict[str, Any]]:
    looks = {
        "average": {"color": GREY, **_marker(most)},
        reference: {"color": GREY, "linestyle": DASHES},
    }
    if starred:
        looks["declared rule"] = {**STAR, "color": "white", "markerfacecolor": "white"}
    return looks


def _marker(most: int) -> dict[str, Any]:
    return {"marker": "o", "markersize": 7} if most <= FEW else {}
