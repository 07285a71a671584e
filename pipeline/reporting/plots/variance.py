"""Draw the standard deviation of test accuracy that every stream of randomness brings."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.style import GREY, WIDTH, arm_colors, style


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study of variance."""
    for study in data.confirmation.studies_of("variance"):
        components = of(data.variance, study.name)
        if len(components):
            yield f"variance_{study.name}", deviations(components, arm_colors(data))


def deviations(components: pd.DataFrame, palette: Mapping[str, str]) -> Figure:
    """Return a figure with a panel per arm and a line per stream.

    `components` has arm, stream, sd, low and high, fractions; a row without interval was computed,
    not measured, and is hollow.
    """
    arms = list(dict.fromkeys(components["arm"]))
    panels = [components[components["arm"] == arm] for arm in arms]
    height = 0.42 * len(components) + 0.7 * len(arms) + 0.6
    ratios = [len(rows) + 1 for rows in panels]
    with style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        grid = figure.subplots(len(arms), 1, squeeze=False, sharex=True, height_ratios=ratios)
        for ax, arm, rows in zip(grid[:, 0], arms, panels, strict=True):
            draw_deviations(ax, rows, palette.get(arm, GREY))
            ax.set_title(arm)
        grid[-1, 0].set_xlabel("standard deviation of test accuracy (points)")
    return figure


def draw_deviations(ax: Axes, rows: pd.DataFrame, color: str) -> None:
    """Draw the streams of one arm, the first on top."""
    places = list(range(len(rows)))
    ax.hlines(places, 100 * rows["low"], 100 * rows["high"], color=color, linewidth=3)
    face = [color if measured else "white" for measured in rows["low"].notna()]
    look: dict[str, Any] = {"marker": "o", "s": 90, "edgecolor": color, "linewidth": 2, "zorder": 3}
    ax.scatter(100 * rows["sd"], places, facecolor=face, **look)
    ax.set_yticks(places, rows["stream"])
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, None))
