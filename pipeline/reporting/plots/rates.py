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
from pipeline.reporting.plots._edges import ARROW, BELOW, clear_share, draw_below, value_rows
from pipeline.reporting.style import DARK, STAR, TYPE, WIDTH, arm_colors, style

BAND = 0.12  # opacity of a range that works
COLUMNS = 2
ROW, FRAME = 2.1, 1.2  # inches of a row of panels, and of what is around them
PANEL = 105.0  # points of type, about the height of a panel
DEPTH = 12.0  # points below the best of an arm that are shown, at most
LEAST_DEPTH = 4.0  # points, so that negligible differences look small
MARGIN = 0.12  # of this depth, beyond the best trial and the lowest one shown
LETTERS = 34  # across a panel
NARROW = 100  # ratio of rates, below which there are ticks within a decade
INSIDE, LOW, DIVERGED = "o", "v", "x"  # kinds of trials: their markers
AXIS = "validation accuracy (%), each panel on its own scale"
BEYOND = 0.06  # of the rates, on the logarithmic axis: how much farther it goes
LEAST_SPAN = 2.0  # ratio of rates
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

    All panels share their horizontal axis. Each arm has its own vertical axis: a trial far below
    its best one is an arrow at the lower edge, with its accuracy.

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
        _set_rates(panels[0, 0], shown["learning_rate"])
        for ax, arm in zip(panels.flat, arms, strict=False):
            low, high = ends.loc[arm]
            draw_range(ax, low, high, palette[arm])
            draw_rates(ax, shown[shown["arm"] == arm], palette[arm])
            ax.set_title(arm)
        _label_rates(panels, len(arms))
        figure.supylabel(AXIS, fontsize=TYPE)
        _add_legend(figure, shown)
    return figure


def draw_range(ax: Axes, low: float, high: float, color: str) -> None:
    """Shade the learning rates that work; NaN if there are none."""
    if pd.notna(low):
        ax.axvspan(low, high, color=color, alpha=BAND, linewidth=0)


def draw_rates(ax: Axes, trials: pd.DataFrame, color: str) -> None:
    """Draw the trials of one arm and its response curve.

    Args:
        ax: The panel, with a logarithmic horizontal axis.
        trials: Those of the arm, as `_shown` returns them.
        color: That of the arm.
    """
    trials = trials.sort_values("learning_rate")
    by_kind = {kind: trials[trials["kind"] == kind] for kind in (INSIDE, LOW, DIVERGED)}
    ax.plot(trials["learning_rate"], trials["fitted"], color=color, **CURVE)
    dot: dict[str, Any] = {"color": color, "linestyle": ""}
    inside = by_kind[INSIDE]
    ax.plot(inside["learning_rate"], inside["accuracy"], marker=INSIDE, **dot)
    chosen = trials[trials["chosen"]]
    ax.plot(chosen["learning_rate"], chosen["accuracy"], **dot, **STAR)
    at_edge: dict[str, Any] = {"marker": DIVERGED, "transform": ax.get_xaxis_transform()}
    for rate in by_kind[DIVERGED]["learning_rate"]:
        ax.plot(rate, ARROW, **dot, **at_edge)
    rows = _draw_low(ax, by_kind[LOW], color)
    has_edge = bool(rows) or len(by_kind[DIVERGED]) > 0
    _set_accuracies(ax, trials, clear_share(rows or [0], PANEL) if has_edge else 0.0)


def _draw_low(ax: Axes, trials: pd.DataFrame, color: str) -> list[int]:
    """Draw trials that are below the panel; return the rows of their values."""
    values = [f"{accuracy:.1f}" for accuracy in trials["accuracy"]]
    left, right = (math.log10(end) for end in ax.get_xlim())
    places = [math.log10(rate) for rate in trials["learning_rate"]]
    rows = value_rows(places, values, (right - left) / LETTERS)
    draw_below(ax, trials["learning_rate"], values, rows, color)
    return rows


def _set_accuracies(ax: Axes, trials: pd.DataFrame, clear: float) -> None:
    """Set the ends of the vertical axis.

    Args:
        ax: The panel.
        trials: The trials of its arm, as `_shown` returns them.
        clear: The share of the panel at the lower edge in which no trial is.
    """
    top, bottom = trials["top"].iloc[0], trials["bottom"].iloc[0]
    margin = MARGIN * (top - bottom)
    high, low = top + margin, bottom - margin
    ax.set_ylim(min(low, high - (high - bottom) / (1 - clear)), high)


def _shown(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the drawn values of trials.

    Returns:
        A row per trial with arm, learning_rate and chosen; in percent, accuracy, fitted, and the
        top and bottom of what its panel shows; and its kind.
    """
    by_arm = [_of_arm(rows) for _, rows in trials.groupby("arm", sort=False)]
    return pd.concat(by_arm)


def _of_arm(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the drawn values of the trials of one arm; see `_shown`."""
    accuracy = 100 * trials["validation_accuracy"]
    best = accuracy.max()
    top = 100.0 if math.isnan(best) else best
    is_chosen = trials["chosen"].astype(bool)
    has_diverged = trials["diverged"] > 0
    is_low = (accuracy < top - DEPTH) & ~is_chosen & ~has_diverged
    lowest = accuracy[~is_low & (~has_diverged | is_chosen)].min()
    columns = {
        "accuracy": accuracy,
        "fitted": 100 * trials["fitted"].mask(is_low),
        "chosen": is_chosen,
        "kind": pd.Series(INSIDE, trials.index).mask(is_low, LOW).mask(has_diverged, DIVERGED),
        "top": top,
        "bottom": top - max(LEAST_DEPTH, 0.0 if math.isnan(lowest) else top - lowest),
    }
    return trials[["arm", "learning_rate"]].assign(**columns)


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
    span = max(rates.max() / rates.min(), LEAST_SPAN)
    subs = (1.0, 2.0, 5.0) if span < NARROW else (1.0,)
    ax.set_xscale("log")
    ax.set_xlim(rates.min() / span**BEYOND, rates.max() * span**BEYOND)
    ax.xaxis.set_major_locator(LogLocator(subs=subs, numticks=5))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _add_legend(figure: Figure, trials: pd.DataFrame) -> None:
    """Add the meaning of the marks in a figure below it."""
    kinds = set(trials["kind"])
    dot: dict[str, Any] = {"color": DARK, "linestyle": ""}
    marks: dict[str, Artist] = {
        "trial": Line2D([], [], marker=INSIDE, **dot),
        "chosen": Line2D([], [], **dot, **STAR),
    }
    if trials["fitted"].notna().any():
        marks["response curve"] = Line2D([], [], color=DARK, **CURVE)
    marks["range that works"] = Patch(color=DARK, alpha=BAND)
    if LOW in kinds:
        marks["lower than shown"] = Line2D([], [], **{**dot, **BELOW})
    if DIVERGED in kinds:
        marks["a run diverged"] = Line2D([], [], marker=DIVERGED, **dot)
    columns = min(LEGEND_COLUMNS, len(marks))
    figure.legend(list(marks.values()), list(marks), loc="outside lower center", ncols=columns)
