"""Draw how much every hyperparameter decides, with intervals."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.pages._search import IMPORTANCE, arms_of, search_studies, words
from pipeline.reporting.style import DARK, DASHES, GREY, WIDTH, arm_colors, style

CHANCE: dict[str, Any] = {"color": GREY, "linestyle": DASHES, "linewidth": 1.6}


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study of searches whose designs are large enough."""
    for study in search_studies(data):
        rows = of(data.search_importance, study.name)
        if len(rows):
            figure = search_importance(rows, words(study), arm_colors(data))
            yield f"{IMPORTANCE}_{study.name}", figure


def search_importance(
    rows: pd.DataFrame, names: Mapping[str, str], palette: Mapping[str, str]
) -> Figure:
    """Return a figure with a panel for each arm and a line for each hyperparameter."""
    arms = arms_of(rows)
    height = 0.36 * len(rows) + 0.6 * len(arms) + 0.9
    ratios = [len(part) + 0.5 for part in arms.values()]
    with style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        grid = figure.subplots(len(arms), 1, squeeze=False, sharex=True, height_ratios=ratios)
        for ax, (arm, part) in zip(grid[:, 0], arms.items(), strict=True):
            draw_shares(ax, part, names, palette.get(arm, DARK))
            ax.set_title(arm)
        grid[-1, 0].set_xlabel("share of importance (%)")
        marks = [
            Line2D([], [], color=DARK, marker="o", linewidth=3, label="share with interval"),
            Line2D([], [], label="by chance: 95 % of shuffled scores are below", **CHANCE),
        ]
        figure.legend(handles=marks, loc="outside lower center", ncols=2)
    return figure


def draw_shares(ax: Axes, rows: pd.DataFrame, names: Mapping[str, str], color: str) -> None:
    """Draw the shares of one arm, the first on top."""
    places = list(range(len(rows)))
    ax.hlines(places, 100 * rows["low"], 100 * rows["high"], color=color, linewidth=3)
    ax.axvline(100 * rows["chance"].iloc[0], zorder=2, **CHANCE)
    ax.scatter(100 * rows["importance"], places, color=color, s=70, zorder=3)
    ax.set_yticks(places, [names[name] for name in rows["hyperparameter"]])
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, 100))
