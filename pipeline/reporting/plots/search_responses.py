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
from pipeline.reporting.style import DARK, GREY, WIDTH, arm_colors, style

COLUMNS = 3
SQUARE = 4  # panels that are two rows of two
TICKS = 4  # of a list, at most
LETTERS = 64  # of the size of a tick, across a figure
DOT: dict[str, Any] = {"s": 9, "color": GREY, "alpha": 0.55, "linewidth": 0}
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
        figure = Figure(figsize=(WIDTH, 2.5 * lines + 0.3), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
        for ax, key in zip(panels, keys, strict=False):
            parts = rows[rows["hyperparameter"] == key]
            trials = points[points["hyperparameter"] == key]
            draw_response(ax, parts, trials, color, LETTERS // columns)
            ax.set_xlabel(names[key])
        for ax in panels[len(keys) :]:
            ax.set_axis_off()
        panels[0].set_title(rows["arm"].iloc[0])
        if points["validation_accuracy"].isna().any():
            lost = Line2D([], [], linestyle="", marker=LOST["marker"], color=LOST["color"])
            figure.legend([lost], ["trial with a lost run"], loc="outside lower center")
        figure.supylabel("validation accuracy (%)", fontsize=panels[0].xaxis.label.get_size())
    return figure


def draw_response(
    ax: Axes, rows: pd.DataFrame, points: pd.DataFrame, color: str, letters: int
) -> None:
    """Draw the trials by place, those with a lost run as crosses at the bottom, and quartiles."""
    done = points.dropna(subset="validation_accuracy")
    lost = points[points["validation_accuracy"].isna()]
    ax.scatter(done["place"], 100 * done["validation_accuracy"], **DOT)
    across = ax.get_xaxis_transform()
    ax.scatter(lost["place"], [0.03] * len(lost), transform=across, clip_on=False, **LOST)
    ax.vlines(rows["place"], 100 * rows["lower"], 100 * rows["upper"], color=color, linewidth=2.5)
    ax.plot(rows["place"], 100 * rows["median"], color=color, marker="o", markersize=5)
    places, labels = ticks(rows, letters)
    ax.set_xticks(places, labels)
    ax.set_xlim(-0.02, 1.02)


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
