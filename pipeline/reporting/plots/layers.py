"""Draw the norms of every layer as tables, halfway through training, an arm per column."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.comparison.norms import ALL
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.markdown import VOID
from pipeline.reporting.plots.training import NAMES
from pipeline.reporting.style import WIDTH, style

CELL, FRAME = 0.2, 2.2  # inches of a row of a table, and around both tables
MEASURES = ("update_ratio", "gradient_norm")
MOST = 24  # layers
SMALL = 8  # points of type
SHADES: dict[str, Any] = {"cmap": "Blues", "alpha": 0.6}


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the figure of every study with an arm that searches its learning rate."""
    for study in data.confirmation.studies_of("comparison"):
        norms = of(data.norms, study.name)
        norms = norms[norms["layer"] != ALL]
        if len(norms) and len(of(data.rate_trials, study.name)):
            yield f"layers_{study.name}", layers(norms)


def layers(norms: pd.DataFrame) -> Figure:
    """Return a figure of the norms of every layer, an arm per column, halfway through training.

    Of a deep network, layers at equal distances are shown.

    Args:
        norms: Columns arm, layer, measure, updates and mean.
    """
    halfway = norms[norms["updates"] == norms["arm"].map(_middle_updates(norms))]
    names = _distant_layers(halfway)
    shown = halfway[halfway["layer"].isin(names)]
    arms = list(dict.fromkeys(shown["arm"]))
    tables = {
        measure: rows.pivot(index="layer", columns="arm", values="mean").reindex(
            names, columns=arms
        )
        for measure, rows in shown.groupby("measure")
        if measure in MEASURES
    }
    with style():
        height = CELL * len(names) * len(tables) + FRAME
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        panels = figure.subplots(len(tables), 1, squeeze=False, sharex=True)[:, 0]
        measures = sorted(tables, key=MEASURES.index)
        for ax, measure in zip(panels, measures, strict=True):
            draw_layers(ax, tables[measure])
            ax.set_title(NAMES[measure])
        panels[-1].set_xticks(range(len(arms)), arms, rotation=30, ha="right")
    return figure


def draw_layers(ax: Axes, table: pd.DataFrame) -> None:
    """Draw a table of numbers over shades of their logarithms, the first layer on top.

    A layer that an arm does not train has a dash.

    Args:
        ax: The panel. Each cell is a square of size 1, around whole numbers.
        table: A row per layer and a column per arm.
    """
    positive = table.where(table > 0).to_numpy(float)
    ax.imshow(np.log10(positive), aspect="auto", **SHADES)
    for (row, column), number in np.ndenumerate(table.to_numpy(float)):
        text = VOID if math.isnan(number) else f"{number:.2g}"
        ax.text(column, row, text, ha="center", va="center", fontsize=SMALL)
    ax.set_yticks(range(len(table)), table.index, fontsize=SMALL)
    ax.grid(visible=False)


def _middle_updates(norms: pd.DataFrame) -> dict[str, float]:
    """Return the middle one of the updates of every arm: arms may be measured at other ones."""
    middles = {}
    for arm, rows in norms.groupby("arm"):
        updates = sorted(set(rows["updates"]))
        middles[str(arm)] = updates[len(updates) // 2]
    return middles


def _distant_layers(norms: pd.DataFrame) -> list[str]:
    """Return at most `MOST` layers, at equal distances from each other."""
    names = list(dict.fromkeys(norms["layer"]))
    step = math.ceil(len(names) / MOST)
    return names[::step]
