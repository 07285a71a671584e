"""Draw the validation score of every trial of a design against each of its hyperparameters."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.pages._search import RESPONSES, arms_of, search_studies, words
from pipeline.reporting.plots._ticks import round_ticks
from pipeline.reporting.style import DARK, GREY, TYPE, WIDTH, arm_colors, style

COLUMNS = 3
SQUARE = 4  # panels that are two rows of two
ROW, FRAME = 2.5, 0.3  # inches of a row of panels, and of what is around them
TICKS = 4  # of a list, at most
LETTERS = 64  # of the size of a tick, across a figure
FOOT = 0.03  # height of a trial without a score, as a share of its panel
SIDE = 0.02  # that a panel is wider on either side than the range
TRIAL: dict[str, Any] = {"s": 9, "color": GREY, "alpha": 0.55, "linewidth": 0}
LOST: dict[str, Any] = {"s": 22, "color": DARK, "marker": "x", "linewidth": 1}


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every arm of a study of searches."""
    for study in search_studies(data):
        points = arms_of(of(data.search_points, study.name))
        for arm, rows in arms_of(of(data.search_responses, study.name)).items():
            color = arm_colors(data).get(arm, DARK)
            yield (
                f"{RESPONSES}_{study.name}_{arm}",
                search_responses(rows, points[arm], words(study), color),
            )


def search_responses(
    rows: pd.DataFrame, points: pd.DataFrame, names: Mapping[str, str], color: str
) -> Figure:
    """Return a figure of one arm with a panel for each hyperparameter.

    Args:
        rows: Those of the arm in the table `search_responses`.
        points: Those of the arm in the table `search_points`.
        names: The hyperparameters in words.
        color: That of the arm.
    """
    keys = list(dict.fromkeys(rows["hyperparameter"]))
    columns = 2 if len(keys) == SQUARE else min(COLUMNS, len(keys))
    lines = math.ceil(len(keys) / columns)
    with style():
        figure = Figure(figsize=(WIDTH, ROW * lines + FRAME), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
        for ax, key in zip(panels, keys, strict=False):
            response = rows[rows["hyperparameter"] == key]
            draw_response(ax, response, points[points["hyperparameter"] == key], color)
            ax.set_xticks(*ticks(response, LETTERS // columns))
            ax.set_xlabel(names[key])
        for ax in panels[len(keys) :]:
            ax.set_axis_off()
        panels[0].set_title(rows["arm"].iloc[0])
        if points["validation_accuracy"].isna().any():
            _add_legend(figure)
        figure.supylabel("validation accuracy (%)", fontsize=TYPE)
    return figure


def draw_response(ax: Axes, rows: pd.DataFrame, points: pd.DataFrame, color: str) -> None:
    """Draw the trials of one hyperparameter, and their quartiles in each part of its range.

    Args:
        ax: The panel. Its horizontal axis has places in [0, 1] on the scale of the range.
        rows: Those of the hyperparameter in the table `search_responses`.
        points: Those of the hyperparameter in the table `search_points`.
        color: That of the quartiles.
    """
    is_lost = points["validation_accuracy"].isna()
    _draw_trials(ax, points[~is_lost])
    _draw_lost_trials(ax, points[is_lost])
    _draw_quartiles(ax, rows, color)
    ax.set_xlim(-SIDE, 1 + SIDE)


def _draw_trials(ax: Axes, points: pd.DataFrame) -> None:
    """Draw a dot for every trial with a score."""
    ax.scatter(points["place"], 100 * points["validation_accuracy"], **TRIAL)


def _draw_lost_trials(ax: Axes, points: pd.DataFrame) -> None:
    """Draw a cross at the foot of the panel for every trial without a score."""
    # Their height is a share of the panel: as an accuracy it would widen the vertical axis.
    across = ax.get_xaxis_transform()
    ax.scatter(points["place"], [FOOT] * len(points), transform=across, clip_on=False, **LOST)


def _draw_quartiles(ax: Axes, rows: pd.DataFrame, color: str) -> None:
    """Draw a line through the medians of the parts, and a bar from quartile to quartile in each."""
    lower, median, upper = (100 * rows[name] for name in ("lower", "median", "upper"))
    ax.vlines(rows["place"], lower, upper, color=color, linewidth=2.5)
    ax.plot(rows["place"], median, color=color, marker="o", markersize=5)


def _add_legend(figure: Figure) -> None:
    """Add the meaning of a cross below a figure."""
    cross = Line2D([], [], linestyle="", marker=LOST["marker"], color=LOST["color"])
    figure.legend([cross], ["trial with a lost run"], loc="outside lower center")


def ticks(rows: pd.DataFrame, letters: float) -> tuple[list[float], list[str]]:
    """Return places and labels: the values of a list, or round values of a range.

    Args:
        rows: Those of a hyperparameter in the table `search_responses`.
        letters: How many letters of a label fit along the axis.
    """
    first, last = rows.iloc[0], rows.iloc[-1]
    if not first["scale"]:
        step = math.ceil(len(rows) / TICKS)
        return list(rows["place"])[::step], list(rows["from"])[::step]
    return round_ticks(first["scale"], float(first["from"]), float(last["to"]), letters)
