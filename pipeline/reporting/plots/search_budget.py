"""Draw the chance that one arm wins against another by the number of trials of both."""

from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.pages._search import BUDGET, search_studies
from pipeline.reporting.plots._names import FRONT
from pipeline.reporting.style import BAND, DARK, GREY, WIDTH, arm_colors, style


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study of searches with two arms or more."""
    for study in search_studies(data):
        rows = of(data.tuning_budget, study.name)
        if len(rows):
            yield f"{BUDGET}_{study.name}", search_budget(rows, arm_colors(data))


def search_budget(rows: pd.DataFrame, palette: dict[str, str]) -> Figure:
    """Return a figure with a panel for every pair of arms in the table `tuning_budget`."""
    pairs = [pair for _, pair in rows.groupby(["arm", "other"], sort=False)]
    with style():
        figure = Figure(figsize=(WIDTH, 2.7 * len(pairs) + 0.4), layout="constrained")
        panels = figure.subplots(len(pairs), 1, squeeze=False, sharex=True)[:, 0]
        for ax, pair in zip(panels, pairs, strict=True):
            draw_chances(ax, pair, palette)
        panels[-1].set_xlabel("trials of each arm")
    return figure


def draw_chances(ax: Axes, pair: pd.DataFrame, palette: dict[str, str]) -> None:
    """Draw the chance that the first arm wins, with its band; one half is the middle."""
    arm, other = pair["arm"].iloc[0], pair["other"].iloc[0]
    color = palette.get(arm, DARK)
    low, high = 100 * pair["low"], 100 * pair["high"]
    ax.fill_between(pair["trials"], low, high, color=color, alpha=BAND, linewidth=0)
    ax.plot(pair["trials"], 100 * pair["chance"], color=color)
    ax.axhline(50, color=GREY, linestyle="--", linewidth=1.2, zorder=1)
    ax.set(ylim=(0, 100), xlim=(1, pair["trials"].max()), ylabel="chance (%)")
    ax.set_title(f"{arm} wins against {other}")
    for height, name, side in ((0.96, arm, "top"), (0.04, other, "bottom")):
        look = {"transform": ax.transAxes, "ha": "right", "va": side, **FRONT}
        ax.text(0.99, height, f"{name} better", **look)
