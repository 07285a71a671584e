"""Draw accuracy against confidence, and how many examples have which confidence."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.comparison.equal_cost import SINGLE
from pipeline.reporting.evidence import METHODS, ReportData, of
from pipeline.reporting.style import (
    BAND,
    DARK,
    DASHES,
    GREY,
    WIDTH,
    add_legend,
    method_colors,
    style,
)

COLUMNS = 3  # panels in a row
HEIGHT = 2.5  # inches of a row
DIAGONAL: dict[str, Any] = {"color": DARK, "linestyle": DASHES, "linewidth": 1.2}
REFERENCE: dict[str, Any] = {"color": GREY, "linewidth": 1.2}
EDGE: dict[str, Any] = {"marker": "o", "markersize": 6, "markeredgecolor": "white"}
SHARE: dict[str, Any] = {"color": GREY, "alpha": BAND}


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study of ensembles."""
    for study in data.confirmation.studies_of("ensemble"):
        bins = of(data.calibration, study.name)
        methods = of(data.equal_cost, study.name)
        if len(methods):
            single = methods.loc[methods["role"] == SINGLE, "method"].iloc[0]
            sizes = of(data.member_gains, study.name)["method"]
            shown = bins[bins["method"].isin(METHODS)]
            palette = method_colors(single, sizes)
            yield f"reliability_{study.name}", reliability(shown, palette, single)


def reliability(bins: pd.DataFrame, palette: Mapping[str, str], single: str) -> Figure:
    """Return a reliability diagram of each method, over its histogram of confidence.

    Args:
        bins: The columns method, low, high, share, confidence, accuracy, accuracy_low and
            accuracy_high, all fractions; a bin without accuracy has a bar of its share alone.
        palette: The color of each method.
        single: The method whose line is also in the panels of the others.
    """
    methods = list(dict.fromkeys(bins["method"]))
    columns = min(COLUMNS, len(methods))
    rows = -(-len(methods) // columns)
    with style():
        figure = Figure(figsize=(WIDTH, rows * HEIGHT + 0.4), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for ax in grid.flat[len(methods) :]:
            ax.set_visible(False)
        for place, method in enumerate(methods):
            ax, chosen = grid.flat[place], bins[bins["method"] == method]
            ax.plot([0, 100], [0, 100], zorder=1, **DIAGONAL)
            draw_share(ax, chosen)
            if method != single:
                ax.plot(*_points(bins[bins["method"] == single]), zorder=2, **REFERENCE)
            draw_accuracy(ax, chosen, palette[method])
            ax.set_title(method, color=palette[method])
            ax.set(xlim=(0, 100), ylim=(0, 100), xticks=(0, 50, 100), yticks=(0, 50, 100))
            if place + columns >= len(methods):
                ax.tick_params(labelbottom=True)
                ax.set_xlabel("confidence (%)")
        for ax in grid[:, 0]:
            ax.set_ylabel("accuracy (%)")
        block = SHARE | {"linewidth": 8, "solid_capstyle": "butt"}
        lines = {"perfectly calibrated": DIAGONAL, "share of test examples (%)": block}
        add_legend(figure, {single: REFERENCE} | lines if len(methods) > 1 else lines)
    return figure


def draw_accuracy(ax: Axes, bins: pd.DataFrame, color: str) -> None:
    """Draw accuracy with its interval against mean confidence of the bins of one method."""
    filled = _filled(bins)
    ends = 100 * filled["accuracy_low"], 100 * filled["accuracy_high"]
    ax.vlines(100 * filled["confidence"], *ends, color=color, linewidth=1.4)
    ax.plot(*_points(bins), color=color, clip_on=False, zorder=3, **EDGE)


def draw_share(ax: Axes, bins: pd.DataFrame) -> None:
    """Draw the share of examples in the bins of one method, as bars."""
    low, width = 100 * bins["low"], 100 * (bins["high"] - bins["low"])
    ax.bar(low, 100 * bins["share"], width, align="edge", linewidth=0, **SHARE)


def _points(bins: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    filled = _filled(bins)
    return 100 * filled["confidence"], 100 * filled["accuracy"]


def _filled(bins: pd.DataFrame) -> pd.DataFrame:
    return bins.dropna(subset=["confidence", "accuracy"])
