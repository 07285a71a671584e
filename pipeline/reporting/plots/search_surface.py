"""Draw the mean validation score over the two most important hyperparameters of a design."""

import math
from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.pages._search import SURFACE, arms_of, search_studies, words
from pipeline.reporting.plots.search_responses import ticks
from pipeline.reporting.style import DARK, WIDTH, style

LEVELS = 12
LETTERS = 50  # of the size of a tick, across the surface


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every arm of a study of searches with two ordered hyperparameters."""
    for study in search_studies(data):
        points = arms_of(of(data.search_points, study.name))
        responses = arms_of(of(data.search_responses, study.name))
        for arm, rows in arms_of(of(data.search_surface, study.name)).items():
            figure = search_surface(rows, points[arm], responses[arm], words(study))
            yield f"{SURFACE}_{study.name}_{arm}", figure


def search_surface(
    rows: pd.DataFrame, points: pd.DataFrame, responses: pd.DataFrame, names: Mapping[str, str]
) -> Figure:
    """Return a figure of one arm: the surface, the trials, and the best tenth of them filled.

    Args:
        rows: Those of the arm in the table `search_surface`.
        points: Those of the arm in the table `search_points`.
        responses: Those of the arm in the table `search_responses`, for the ticks.
        names: The hyperparameters in words.
    """
    x, y = rows["first"].iloc[0], rows["second"].iloc[0]
    with style():
        figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
        ax = figure.subplots()
        drawn = draw_surface(ax, rows, points)
        bar = figure.colorbar(drawn, ax=ax, pad=0.02, ticks=MaxNLocator(5))
        bar.set_label("mean validation accuracy (%)")
        bar.outline.set_visible(False)
        for key, set_ticks, room in ((x, ax.set_xticks, LETTERS), (y, ax.set_yticks, math.inf)):
            set_ticks(*ticks(responses[responses["hyperparameter"] == key], room))
        ax.set(xlabel=names[x], ylabel=names[y], title=rows["arm"].iloc[0])
    return figure


def draw_surface(ax: Axes, rows: pd.DataFrame, points: pd.DataFrame) -> ScalarMappable:
    """Draw means as levels of brightness, and the trials by their places."""
    means = rows.pivot(index="second_place", columns="first_place", values="mean")
    drawn = ax.contourf(means.columns, means.index, 100 * means, levels=LEVELS, cmap="viridis")
    places = points.pivot(index="point", columns="hyperparameter", values="place")
    best = points.groupby("point")["is_best"].first().reindex(places.index).astype(bool)
    across, up = places[rows["first"].iloc[0]], places[rows["second"].iloc[0]]
    ax.scatter(across[~best], up[~best], s=16, facecolor="none", edgecolor="white", linewidth=0.8)
    ax.scatter(across[best], up[best], s=34, color="white", edgecolor=DARK, zorder=3)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.grid(visible=False)
    return drawn
