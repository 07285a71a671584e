"""Draw the mean validation score over the two most important hyperparameters of a design."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.pages._search import SURFACE, arms_of, search_studies, words
from pipeline.reporting.plots.search_responses import ticks
from pipeline.reporting.style import DARK, WIDTH, style

HEIGHT = 4.4  # inches
LEVELS = 12  # of brightness
LETTERS = 50  # of the size of a tick, across the surface
TRIAL: dict[str, Any] = {"s": 16, "facecolor": "none", "edgecolor": "white", "linewidth": 0.8}
BEST: dict[str, Any] = {"s": 34, "color": "white", "edgecolor": DARK, "zorder": 3}


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
    first, second = rows["first"].iloc[0], rows["second"].iloc[0]
    with style():
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        ax = figure.subplots()
        means = draw_means(ax, rows)
        draw_trials(ax, points, first, second)
        ax.set(xlim=(0, 1), ylim=(0, 1))
        ax.grid(visible=False)
        _add_color_bar(figure, ax, means)
        by_key = dict(iter(responses.groupby("hyperparameter")))
        ax.set_xticks(*ticks(by_key[first], LETTERS))
        ax.set_yticks(*ticks(by_key[second], math.inf))  # labels below each other have room
        ax.set(xlabel=names[first], ylabel=names[second], title=rows["arm"].iloc[0])
    return figure


def draw_means(ax: Axes, rows: pd.DataFrame) -> ScalarMappable:
    """Draw mean scores as levels of brightness, over places in [0, 1] of both hyperparameters.

    Args:
        ax: The panel.
        rows: Those of an arm in the table `search_surface`: a mean for each pair of places.

    Returns:
        What a color bar describes.
    """
    # A row of this table is a height in the panel, a column a distance from its left side.
    means = rows.pivot(index="second_place", columns="first_place", values="mean")
    return ax.contourf(means.columns, means.index, 100 * means, levels=LEVELS, cmap="viridis")


def draw_trials(ax: Axes, points: pd.DataFrame, first: str, second: str) -> None:
    """Draw a circle for every trial, filled for the best ones.

    Args:
        ax: The panel.
        points: Those of an arm in the table `search_points`: a row per trial and hyperparameter.
        first: The hyperparameter of the horizontal axis.
        second: That of the vertical one.
    """
    places = points.pivot(index="point", columns="hyperparameter", values="place")
    is_best = points.groupby("point")["is_best"].first().reindex(places.index).astype(bool)
    best, others = places[is_best], places[~is_best]
    ax.scatter(others[first], others[second], **TRIAL)
    ax.scatter(best[first], best[second], **BEST)


def _add_color_bar(figure: Figure, ax: Axes, means: ScalarMappable) -> None:
    """Add the meaning of the brightness beside the panel."""
    bar = figure.colorbar(means, ax=ax, pad=0.02, ticks=MaxNLocator(5))
    bar.set_label("mean validation accuracy (%)")
    bar.outline.set_visible(False)
