"""Draw accuracy against confidence, and how many examples have which confidence."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.comparison.equal_cost import SINGLE
from pipeline.reporting.evidence import METHODS, ReportData, of
from pipeline.reporting.style import DARK, DASHES, MARKERS, WIDTH, add_legend, method_colors, style

DIAGONAL: dict[str, Any] = {"color": DARK, "linestyle": DASHES, "linewidth": 1.5}


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study of ensembles."""
    for study in data.confirmation.studies_of("ensemble"):
        bins = of(data.calibration, study.name)
        methods = of(data.equal_cost, study.name)
        if len(methods):
            single = methods.loc[methods["role"] == SINGLE, "method"].iloc[0]
            sizes = of(data.member_gains, study.name)["method"]
            shown = bins[bins["method"].isin(METHODS)]
            yield f"reliability_{study.name}", reliability(shown, method_colors(single, sizes))


def reliability(bins: pd.DataFrame, palette: Mapping[str, str]) -> Figure:
    """Return a reliability diagram over the histogram of confidence.

    `bins` has method, low, high, share, confidence, accuracy, accuracy_low and accuracy_high, all
    fractions; a bin without accuracy is missing above.
    """
    methods, markers = dict.fromkeys(bins["method"]), itertools.cycle(MARKERS)
    edge = {"markersize": 9, "markeredgecolor": "white", "markeredgewidth": 0.8}
    looks: dict[str, dict[str, Any]] = {
        method: {"color": palette[method], "marker": next(markers), **edge} for method in methods
    }
    with style():
        figure = Figure(figsize=(WIDTH, 7.4), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(5, 2))
        upper.plot([0, 100], [0, 100], zorder=1, **DIAGONAL)
        for method, look in looks.items():
            chosen = bins[bins["method"] == method]
            draw_accuracy(upper, chosen, **look)
            draw_share(lower, chosen, **look)
        upper.set(ylabel="accuracy (%)", xlim=(-1, 101), ylim=(-2, 102))
        lower.set(xlabel="confidence (%)", ylabel="test examples (%)")
        lower.set_ylim(bottom=0)
        figure.align_ylabels()
        add_legend(figure, looks | {"perfectly calibrated": DIAGONAL})
    return figure


def draw_accuracy(ax: Axes, bins: pd.DataFrame, **look: Any) -> None:
    """Draw accuracy with its interval against mean confidence of the bins of one method."""
    filled = bins.dropna(subset=["confidence", "accuracy"])
    places, heights = 100 * filled["confidence"], 100 * filled["accuracy"]
    ends = 100 * filled["accuracy_low"], 100 * filled["accuracy_high"]
    ax.vlines(places, *ends, color=look["color"], linewidth=1.2, alpha=0.6)
    ax.plot(places, heights, **look)


def draw_share(ax: Axes, bins: pd.DataFrame, **look: Any) -> None:
    """Draw the share of examples in the bins of one method."""
    middle = 50 * (bins["low"] + bins["high"])
    ax.plot(middle, 100 * bins["share"], clip_on=False, zorder=3, **look)
