"""Draw validation accuracy against learning rate where arms search their rate, a panel per arm."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.style import DARK, STAR, TYPE, WIDTH, arm_colors, style

BAND = 0.12  # opacity of a range that works
COLUMNS = 2
ROW, FRAME = 2.4, 1.2  # inches of a row of panels, and of what is around them
DEPTH = 12.0  # points below the best of an arm that are shown, at most
LEAST_DEPTH = 1.0  # points, where all trials are as accurate
MARGIN = 0.8  # points
NARROW = 100  # ratio of rates, below which there are ticks within a decade
INSIDE, LOW, DIVERGED = "o", "v", "x"  # markers of trials
CURVE: dict[str, Any] = {"linestyle": ":"}
LEGEND_COLUMNS = 3


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the figure of every study with an arm that searches its learning rate."""
    palette = arm_colors(data)
    for study in data.confirmation.studies_of("comparison"):
        trials = of(data.rate_trials, study.name)
        if len(trials):
            yield f"rates_{study.name}", rates(trials, of(data.rate_ranges, study.name), palette)


def rates(trials: pd.DataFrame, ranges: pd.DataFrame, palette: Mapping[str, str]) -> Figure:
    """Return a figure of validation accuracy against learning rate, a panel per arm.

    All panels share their horizontal axis and show as many points of accuracy, below the best trial
    of their arm. A trial far below it is drawn at the lower end.

    Args:
        trials: Columns arm, learning_rate, validation_accuracy and fitted (fractions), chosen, and
            diverged: how many of its runs did.
        ranges: Columns arm, low and high.
        palette: The color of every arm.
    """
    shown = _shown(trials)
    arms = list(dict.fromkeys(shown["arm"]))
    ends = ranges.set_index("arm")[["low", "high"]]
    with style():
        figure, panels = _grid(len(arms))
        for ax, arm in zip(panels.flat, arms, strict=False):
            low, high = ends.loc[arm]
            draw_range(ax, low, high, palette[arm])
            draw_rates(ax, shown[shown["arm"] == arm], palette[arm])
            ax.set_title(arm)
        _label_rates(panels, len(arms))
        _set_rates(panels[0, 0], shown["learning_rate"])
        figure.supylabel("validation accuracy (%)", fontsize=TYPE)
        _add_legend(figure, shown)
    return figure


def draw_range(ax: Axes, low: float, high: float, color: str) -> None:
    """Shade the learning rates that work; NaN if there are none."""
    if pd.notna(low):
        ax.axvspan(low, high, color=color, alpha=BAND, linewidth=0)


def draw_rates(ax: Axes, trials: pd.DataFrame, color: str) -> None:
    """Draw the trials of one arm and its response curve.

    Args:
        ax: The panel.
        trials: Those of the arm, as `_shown` returns them.
        color: That of the arm.
    """
    trials = trials.sort_values("learning_rate")
    ax.plot(trials["learning_rate"], trials["fitted"], color=color, **CURVE)
    for marker in (INSIDE, LOW, DIVERGED):
        marked = trials[trials["marker"] == marker]
        look: dict[str, Any] = {"color": color, "linestyle": "", "marker": marker}
        ax.plot(marked["learning_rate"], marked["height"], **look)
    chosen = trials[trials["chosen"]]
    heights = chosen["accuracy"].clip(lower=chosen["bottom"])
    ax.plot(chosen["learning_rate"], heights, linestyle="", color=color, **STAR)
    top, bottom = trials["top"].iloc[0], trials["bottom"].iloc[0]
    ax.set_ylim(bottom - MARGIN, top + MARGIN)


def _shown(trials: pd.DataFrame) -> pd.DataFrame:
    """Return what is drawn of trials.

    Returns:
        A row per trial with arm, learning_rate and chosen; in percent, accuracy, fitted, the top
        and bottom of the panel and the height of the mark in it; and its marker.
    """
    accuracy = 100 * trials["validation_accuracy"]
    top = trials["arm"].map(accuracy.groupby(trials["arm"]).max()).fillna(100.0)
    bottom = top - _depth(trials)
    has_diverged = trials["diverged"] > 0
    is_low = (accuracy < bottom) & ~has_diverged
    columns = {
        "accuracy": accuracy,
        "fitted": 100 * trials["fitted"],
        "top": top,
        "bottom": bottom,
        "height": accuracy.mask(is_low | has_diverged, bottom),
        "chosen": trials["chosen"].astype(bool),
        "marker": pd.Series(INSIDE, trials.index).mask(is_low, LOW).mask(has_diverged, DIVERGED),
    }
    return trials[["arm", "learning_rate"]].assign(**columns)


def _depth(trials: pd.DataFrame) -> float:
    """Return how many points below the best trial of an arm are shown, without collapsed trials."""
    by_arm = (100 * trials["validation_accuracy"]).groupby(trials["arm"])
    depths = (by_arm.max() - by_arm.min()).dropna()
    return min(max(depths, default=LEAST_DEPTH), DEPTH)


def _grid(count: int) -> tuple[Figure, NDArray[Any]]:
    """Return a figure with at least `count` panels (rows, columns) that share their rates."""
    columns = min(COLUMNS, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(WIDTH, ROW * rows + FRAME), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=True)


def _label_rates(panels: NDArray[Any], count: int) -> None:
    """Label the horizontal axis below the last panel of each column, and hide unused panels.

    Args:
        panels: The grid of panels (rows, columns), which share this axis.
        count: How many of them are used, row by row.
    """
    columns = panels.shape[1]
    for ax in panels.flat[count:]:
        ax.set_visible(False)
    for column in range(columns):
        # The last row may be short: in other columns the lowest used panel is one row higher.
        lowest = panels[(count - 1 - column) // columns, column]
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel("learning rate")


def _set_rates(ax: Axes, rates: pd.Series) -> None:
    """Make the horizontal axis logarithmic, with plain labels that do not overlap."""
    is_narrow = rates.max() < NARROW * rates.min()
    subs = (1.0, 2.0, 5.0) if is_narrow else (1.0,)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=subs, numticks=5))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _add_legend(figure: Figure, trials: pd.DataFrame) -> None:
    """Add what the marks mean below a figure, of those that it has."""
    markers = set(trials["marker"])
    dot: dict[str, Any] = {"color": DARK, "linestyle": ""}
    marks: dict[str, Artist] = {
        "trial": Line2D([], [], marker=INSIDE, **dot),
        "chosen": Line2D([], [], **dot, **STAR),
    }
    if trials["fitted"].notna().any():
        marks["response curve"] = Line2D([], [], color=DARK, **CURVE)
    marks["range that works"] = Patch(color=DARK, alpha=BAND)
    if LOW in markers:
        marks["lower than shown"] = Line2D([], [], marker=LOW, **dot)
    if DIVERGED in markers:
        marks["a run diverged"] = Line2D([], [], marker=DIVERGED, **dot)
    columns = min(LEGEND_COLUMNS, len(marks))
    figure.legend(list(marks.values()), list(marks), loc="outside lower center", ncols=columns)
