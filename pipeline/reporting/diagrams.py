"""Figures of averaged predictions and of spread: scores against the number averaged, reliability, standard deviations.

Separate from `figures.py`, which shows arms: here a line is a way to predict, or a source of spread. The same style: it reads
in grey, since every line has a marker or a panel of its own, and bands come from the table.
"""

import itertools
import textwrap
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FormatStrFormatter, MaxNLocator, NullLocator

from pipeline.config.test_rules import NOISE_PASSES
from pipeline.reporting.figures import BAND, DASHES, TITLE
from pipeline.reporting.style import DARK, MARKERS, WIDTH, colours, columns, style

SCALES = {"accuracy": ("accuracy (%)", 100.0), "nll": ("NLL (nats)", 1.0)}
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
FEW = 10  # up to so many, every number has its tick and its marker; beyond, the axis is logarithmic
GREY = "#888888"
STAR: dict[str, Any] = {"marker": "*", "markersize": 17, "markeredgecolor": "black"}


def score_curves(
    frame: pd.DataFrame,
    palette: Mapping[str, str],
    averaged: str,
    reference: str,
    declared: Collection[str] = (),
) -> Figure:
    """Test accuracy and NLL against the number `averaged`: a row of two panels per label, each with a scale of its own.

    `frame` has label, number, metric, mean, low and high. Number 0 is the `reference`, a dashed line; `palette` has
    the colour of every label, and `declared` names those whose test rule averages noise passes, which is starred.
    """
    labels = list(dict.fromkeys(frame["label"]))
    most = int(frame["number"].max())
    with style():
        figure = Figure(figsize=(WIDTH, 2.1 * len(labels) + 1.2), layout="constrained")
        panels = figure.subplots(len(labels), 2, squeeze=False, sharex=True)
        for row, label in zip(panels, labels, strict=True):
            for axes, metric in zip(row, SCALES, strict=True):
                own = frame[(frame["label"] == label) & (frame["metric"] == metric)].sort_values(
                    "number"
                )
                _scores(axes, own, metric, palette[label], most)
                _star(
                    axes,
                    own[(own["number"] == NOISE_PASSES) & (label in declared)],
                    metric,
                    palette[label],
                )
            row[0].set_title("\n".join(textwrap.wrap(label, TITLE)))
        for axes in panels[-1]:
            _number_axis(axes, most)
            axes.set_xlabel(averaged)
        figure.align_ylabels(panels)
        star = (
            {"declared rule": {**STAR, "color": "white", "markerfacecolor": "white"}}
            if declared
            else {}
        )
        dashed = {"color": GREY, "linestyle": DASHES}
        _legend(figure, {"average": {"color": GREY, **_marker(most)}, reference: dashed, **star})
    return figure


def reliability_diagram(bins: pd.DataFrame, palette: Mapping[str, str]) -> Figure:
    """Accuracy against confidence with the diagonal of perfect calibration, and the histogram of confidence beneath.

    `bins` has method, low, high, share, confidence and accuracy, all fractions; a bin without accuracy is left out above.
    """
    pairs = zip(dict.fromkeys(bins["method"]), itertools.cycle(MARKERS), strict=False)
    edge = {"markersize": 9, "markeredgecolor": "white", "markeredgewidth": 0.8}
    looks = {
        method: {"color": palette[method], "marker": marker, **edge} for method, marker in pairs
    }
    diagonal: dict[str, Any] = {"color": DARK, "linestyle": DASHES, "linewidth": 1.5}
    with style():
        figure = Figure(figsize=(WIDTH, 8.8), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(5, 3))
        upper.plot([0, 100], [0, 100], zorder=1, **diagonal)
        for method, look in looks.items():
            own = bins[bins["method"] == method]
            known = own.dropna(subset=["confidence", "accuracy"])
            upper.plot(100 * known["confidence"], 100 * known["accuracy"], **look)
            lower.plot(
                50 * (own["low"] + own["high"]), 100 * own["share"], clip_on=False, zorder=3, **look
            )
        upper.set(ylabel="accuracy (%)", xlim=(-1, 101), ylim=(-2, 102))
        lower.set(xlabel="confidence (%)", ylabel="test images (%)")
        lower.set_ylim(bottom=0)
        figure.align_ylabels()
        _legend(figure, looks | {"perfectly calibrated": diagonal})
    return figure


def deviations(components: pd.DataFrame, palette: Mapping[str, str]) -> Figure:
    """The standard deviation of test accuracy that every stream brings, with its interval: a panel per arm.

    `components` has arm, stream, sd, low and high, fractions; a row without interval was counted, not measured.
    """
    arms = list(dict.fromkeys(components["arm"]))
    own = [components[components["arm"] == arm] for arm in arms]
    with style():
        figure = Figure(
            figsize=(WIDTH, 0.42 * len(components) + 0.7 * len(arms) + 0.6), layout="constrained"
        )
        panels = figure.subplots(
            len(arms), 1, squeeze=False, sharex=True, height_ratios=[len(rows) + 1 for rows in own]
        )[:, 0]
        for axes, arm, rows in zip(panels, arms, own, strict=True):
            places = list(range(len(rows)))
            axes.hlines(
                places,
                100 * rows["low"],
                100 * rows["high"],
                color=palette.get(arm, GREY),
                linewidth=3,
            )
            face = [palette.get(arm, GREY) if known else "white" for known in rows["low"].notna()]
            look = {
                "marker": "o",
                "s": 90,
                "edgecolor": palette.get(arm, GREY),
                "linewidth": 2,
                "zorder": 3,
            }
            axes.scatter(100 * rows["sd"], places, facecolor=face, **look)
            axes.set_yticks(places, rows["stream"])
            axes.set(title=arm, ylim=(len(rows) - 0.5, -0.5), xlim=(0, None))
        panels[-1].set_xlabel("standard deviation of test accuracy (points)")
    return figure


def growth_curves(scores: pd.DataFrame, differences: pd.DataFrame) -> Figure:
    """Test accuracy against the number of training images, a line for each series; beneath it the differences, with bars.

    Both have series, size, mean, low and high, fractions; the series of the scores begin with the baseline's.
    """
    series = list(dict.fromkeys(scores["series"]))
    palette = colours(series)
    pairs = zip(series, itertools.cycle(MARKERS), strict=False)
    looks: dict[str, dict[str, Any]] = {
        name: {"color": palette[name], "marker": marker} for name, marker in pairs
    }
    with style():
        figure = Figure(figsize=(WIDTH, 7.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        for name, look in looks.items():
            own = scores[scores["series"] == name]
            upper.fill_between(
                own["size"],
                100 * own["low"],
                100 * own["high"],
                color=look["color"],
                alpha=BAND,
                linewidth=0,
            )
            upper.plot(own["size"], 100 * own["mean"], **look)
            rows = differences[differences["series"] == name]
            bars = [100 * (rows["mean"] - rows["low"]), 100 * (rows["high"] - rows["mean"])]
            lower.errorbar(rows["size"], 100 * rows["mean"], yerr=bars, capsize=4, **look)
        lower.axhline(0, color=DARK, linestyle=DASHES, linewidth=1.5)
        upper.set_ylabel("test accuracy (%)")
        lower.set(ylabel="difference (points)", xlabel="training images", xscale="log")
        sizes = sorted(set(scores["size"]))
        lower.xaxis.set_major_locator(FixedLocator(sizes))
        lower.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        lower.xaxis.set_minor_locator(NullLocator())
        figure.align_ylabels()
        _legend(figure, looks)
    return figure


def _scores(axes: Axes, own: pd.DataFrame, metric: str, colour: str, most: int) -> None:
    title, scale = SCALES[metric]
    for mean in scale * own.loc[own["number"] == 0, "mean"]:
        axes.axhline(mean, color=colour, linestyle=DASHES, zorder=1)
    rows = own[own["number"] > 0]
    axes.fill_between(
        rows["number"],
        scale * rows["low"],
        scale * rows["high"],
        color=colour,
        alpha=BAND,
        linewidth=0,
    )
    axes.plot(rows["number"], scale * rows["mean"], color=colour, linewidth=2.4, **_marker(most))
    axes.set_ylabel(title)
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _marker(most: int) -> dict[str, Any]:
    return {"marker": "o", "markersize": 7} if most <= FEW else {}


def _star(axes: Axes, rows: pd.DataFrame, metric: str, colour: str) -> None:
    axes.plot(
        rows["number"],
        SCALES[metric][1] * rows["mean"],
        color=colour,
        linestyle="",
        zorder=5,
        **STAR,
    )


def _number_axis(axes: Axes, most: int) -> None:
    if most > FEW:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(
        FixedLocator(
            [tick for tick in (TICKS if most > FEW else range(1, FEW + 1)) if tick <= most]
        )
    )
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(NullLocator())


def _legend(figure: Figure, looks: Mapping[str, Mapping[str, Any]]) -> None:
    lines = [Line2D([], [], **look) for look in looks.values()]
    figure.legend(lines, list(looks), loc="outside lower center", ncols=columns(looks))
