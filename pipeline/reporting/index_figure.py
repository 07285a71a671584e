"""Draw the figure of `reports/README.md`: effects of arms over the gaps of the baselines."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

from pipeline.records.reports import WrittenReport
from pipeline.reporting.index import baseline_gap, by_gap, common_arms
from pipeline.reporting.style import (
    DASHES,
    GREY,
    MARKERS,
    TYPE,
    WIDTH,
    add_legend,
    colors,
    style,
    wrap_title,
)

TICKS = (1, 2, 5, 10, 20, 50)  # points of a gap
COLUMNS = 2


def effects(reports: Mapping[str, WrittenReport]) -> Figure:
    """Return a figure with a panel for every arm that several protocols tried.

    The gaps of baselines are on a logarithmic axis. Protocols without a gap above 0, or without a
    point, are left out.
    """
    arms = common_arms(reports)
    names = [
        name
        for name in by_gap(reports)
        if baseline_gap(reports[name]) > 0
        and any(
            row["arm"] in arms and math.isfinite(row["difference"])
            for row in reports[name].contrasts
        )
    ]
    looks = _looks(names)
    lines = -(-len(arms) // COLUMNS)
    with style():
        figure = Figure(figsize=(WIDTH, 2.2 * lines + 1.6), layout="constrained")
        panels = figure.subplots(lines, COLUMNS, squeeze=False, sharex=True, sharey=True).flatten()
        for ax, arm in zip(panels, arms, strict=False):
            draw_effects(ax, arm, [(name, reports[name]) for name in names], looks)
            ax.set_title(wrap_title(arm))
        for ax in panels[len(arms) :]:
            ax.set_axis_off()
        for ax in panels[max(len(arms) - COLUMNS, 0) : len(arms)]:  # the lowest of each column
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("gap of the baseline (points, logarithmic)")
        figure.supylabel("difference in test accuracy (points)", fontsize=TYPE)
        add_legend(figure, looks)
    return figure


def draw_effects(
    ax: Axes,
    arm: str,
    reports: Sequence[tuple[str, WrittenReport]],
    looks: Mapping[str, Mapping[str, Any]],
) -> None:
    """Draw the difference of an arm with its interval, a point for every protocol that tried it."""
    ax.axhline(0, color=GREY, linestyle=DASHES, zorder=1)
    for name, report in reports:
        for row in report.contrasts:
            if row["arm"] == arm:
                gap, points = baseline_gap(report), 100 * row["difference"]
                ax.plot(
                    [gap] * 2, [100 * row["low"], 100 * row["high"]], color=looks[name]["color"]
                )
                ax.plot(gap, points, **looks[name])
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(TICKS))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_locator(NullLocator())


def _looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    palette = colors(names)
    return {
        name: {
            "color": palette[name],
            "marker": MARKERS[number % len(MARKERS)],
            "markersize": 8,
            "linestyle": "",
        }
        for number, name in enumerate(names)
    }
