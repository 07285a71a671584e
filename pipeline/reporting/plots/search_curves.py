"""Draw how good the best setting of each search method is after how many trainings."""

import itertools
from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.pages._search import CURVES, METHODS, arms_of, search_studies
from pipeline.reporting.plots._names import write_ends, write_names
from pipeline.reporting.style import BAND, DARK, DASHES, GREY, MARKERS, PALETTE, WIDTH, style

RANDOM = "random"
LINES = ("-", DASHES, ":", "-.")
START = 2  # trainings of random search, where the scale of scores begins
MARGIN = 0.08  # of the scores shown


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study of searches."""
    for study in search_studies(data):
        yield f"{CURVES}_{study.name}", search_curves(of(data.search_curves, study.name))


def search_curves(rows: pd.DataFrame) -> Figure:
    """Return a figure with a panel for each arm and a line for each method.

    `rows` are the rows of a study in the table `search_curves`.
    """
    arms = arms_of(rows)
    names = [name for name in METHODS if name in set(rows["method"])]
    looks = _looks(names)
    with style():
        figure = Figure(figsize=(WIDTH, 3.4 * len(arms) + 0.4), layout="constrained")
        panels = figure.subplots(len(arms), 1, squeeze=False)[:, 0]
        for ax, (arm, curves) in zip(panels, arms.items(), strict=True):
            draw_curves(ax, curves, looks)
            ax.set_title(arm)
            ax.set_ylabel("best validation accuracy (%)")
        panels[-1].set_xlabel("cost in whole trainings (logarithmic)")
        for ax, curves in zip(panels, arms.values(), strict=True):
            write_methods(figure, ax, curves, looks)
    return figure


def draw_curves(ax: Axes, curves: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """Draw the median of each method, and the band of random search where it is known."""
    banded = curves.dropna(subset="band_low")
    ax.fill_between(
        banded["cost"],
        100 * banded["band_low"],
        100 * banded["band_high"],
        color=GREY,
        alpha=BAND,
        linewidth=0,
    )
    for method, line in curves.dropna(subset="median").groupby("method", sort=False):
        ax.plot(line["cost"], 100 * line["median"], **looks[str(method)])
    ax.set_xscale("log", base=2)
    costs = [2**power for power in range(20) if 2**power <= curves["cost"].max()]
    ax.xaxis.set_major_locator(FixedLocator(costs))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_locator(NullLocator())
    ends = curves.dropna(subset="median").groupby("method", sort=False).tail(1)
    usual = curves[(curves["method"] == RANDOM) & (curves["cost"] >= START)]
    shown = 100 * pd.concat([usual, ends])["median"]
    extra = MARGIN * (shown.max() - shown.min()) or 1.0
    ax.set_ylim(shown.min() - extra, shown.max() + 2 * extra)
    ax.set_xlim(1, curves["cost"].max())


def write_methods(
    figure: Figure, ax: Axes, curves: pd.DataFrame, looks: dict[str, dict[str, Any]]
) -> None:
    """Write the name of each method at the end of its line, right of the panel if it ends there."""
    last = curves.dropna(subset="median").groupby("method", sort=False).tail(1)
    ends = last.set_index("method")
    is_late = ends["cost"] == curves["cost"].max()
    late = {METHODS[name]: 100 * ends.loc[name, "median"] for name in ends.index[is_late]}
    colors = {METHODS[name]: look["color"] for name, look in looks.items()}
    write_ends(figure, ax, late, colors)
    early = {}
    for name in ends.index[~is_late]:
        point = float(ends.loc[name, "cost"]), 100 * float(ends.loc[name, "median"])
        ax.plot(*point, **{**looks[name], "markevery": None, "markersize": 8})
        early[METHODS[name]] = point
    lines = curves.dropna(subset="median")
    others = list(zip(lines["cost"], 100 * lines["median"], strict=True))
    write_names(figure, ax, early, others)


def _looks(names: list[str]) -> dict[str, dict[str, Any]]:
    """Return color, dashes and marker of every method."""
    others = [name for name in names if name != RANDOM]
    cycles = zip(others, PALETTE, itertools.cycle(LINES[1:]), MARKERS[1:], strict=False)
    looks: dict[str, dict[str, Any]] = {
        name: {"color": color, "linestyle": line, "marker": marker, "markevery": 0.12}
        for name, color, line, marker in cycles
    }
    return {RANDOM: {"color": DARK, "linewidth": 2.4, "marker": ""}, **looks}
