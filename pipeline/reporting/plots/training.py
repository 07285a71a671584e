"""Draw training where arms search their learning rate: rates tried, loss and norms over updates."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from pipeline.comparison.norms import ALL, NORMS
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.markdown import VOID
from pipeline.reporting.plots._names import write_ends
from pipeline.reporting.plots.curves import set_logarithmic
from pipeline.reporting.style import DARK, DASHES, MARKERS, STAR, TYPE, WIDTH, arm_colors, style

BAND = 0.12  # opacity; many bands lie over each other
COLUMNS = 2
RATE_ROW, RATE_FRAME = 2.4, 1.2  # inches of a row of panels of rates, and of what is around them
DEPTH = 12.0  # points below the best of an arm that are shown, at most
LEAST_DEPTH = 1.0  # points, where all trials are as accurate
MARGIN = 0.8  # points
NARROW = 100  # ratio of rates, below which there are ticks within a decade
PANEL, NAME, FRAME = 2.6, 0.18, 0.5  # inches of a panel over updates, of a name, around panels
CELL, LAYER_FRAME = 0.2, 2.2  # inches of a row of a table of layers, and around both tables
SPLITS = {"train": "training loss (nats)", "validation": "validation loss (nats)"}
NAMES = {
    "squared_weight_norm": "squared norm of weights",
    "gradient_norm": "norm of gradient",
    "update_ratio": "update / weights",
}
BY_LAYER = ("update_ratio", "gradient_norm")
LAYERS, SMALL = 24, 8  # layers at most, and their type in points
Looks = Mapping[str, Mapping[str, Any]]


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of every study with an arm that searches its learning rate."""
    palette = arm_colors(data)
    for study in data.confirmation.studies_of("comparison"):
        trials = of(data.rate_trials, study.name)
        if trials.empty:
            continue
        yield f"rates_{study.name}", rates(trials, of(data.rate_ranges, study.name), palette)
        looks = {arm.name: _look(place, palette[arm.name]) for place, arm in enumerate(study.arms)}
        curves = of(data.curves, study.name)
        if len(curves):
            yield f"loss_{study.name}", losses(curves, looks)
        norms = of(data.norms, study.name)
        of_network = norms[norms["layer"] == ALL]
        of_layers = norms[norms["layer"] != ALL]
        if len(norms):
            yield f"norms_{study.name}", measures(of_network, looks)
        if len(of_layers):
            yield f"layers_{study.name}", layers(of_layers)


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
    by_arm = {str(arm): rows for arm, rows in trials.groupby("arm", sort=False)}
    ends = ranges.set_index("arm")[["low", "high"]]
    tops = {arm: _best(rows) for arm, rows in by_arm.items()}
    depth = _depth(trials)
    with style():
        columns = min(COLUMNS, len(by_arm))
        lines = math.ceil(len(by_arm) / columns)
        height = RATE_ROW * lines + RATE_FRAME
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False, sharex=True)
        for ax, (arm, rows) in zip(panels.flat, by_arm.items(), strict=False):
            low, high = ends.loc[arm]
            draw_range(ax, low, high, palette[arm])
            draw_rates(ax, rows, palette[arm], tops[arm] - depth)
            ax.set_ylim(tops[arm] - depth - MARGIN, tops[arm] + MARGIN)
            ax.set_title(arm)
        _label_rates(panels, len(by_arm))
        _set_rates(panels[0, 0], trials["learning_rate"])
        figure.supylabel("validation accuracy (%)", fontsize=TYPE)
        bottoms = trials["arm"].map(tops) - depth
        _add_rate_legend(figure, trials, 100 * trials["validation_accuracy"] < bottoms)
    return figure


def draw_range(ax: Axes, low: float, high: float, color: str) -> None:
    """Shade the learning rates that work; NaN if there are none."""
    if pd.notna(low):
        ax.axvspan(low, high, color=color, alpha=BAND, linewidth=0)


def draw_rates(ax: Axes, trials: pd.DataFrame, color: str, bottom: float) -> None:
    """Draw the trials of one arm and its response curve.

    Args:
        ax: The panel.
        trials: Those of the arm, as `rates` takes them.
        color: That of the arm.
        bottom: The accuracy (%) at which those below it stand, and those that diverged.
    """
    trials = trials.sort_values("learning_rate")
    accuracy = 100 * trials["validation_accuracy"]
    has_diverged = trials["diverged"] > 0
    is_low = (accuracy < bottom) & ~has_diverged
    ax.plot(trials["learning_rate"], 100 * trials["fitted"], color=color, linestyle=":")
    heights = accuracy.mask(is_low | has_diverged, bottom)
    marks = {"o": ~has_diverged & ~is_low, "v": is_low, "x": has_diverged}
    for marker, shown in marks.items():
        points = trials["learning_rate"][shown], heights[shown]
        ax.plot(*points, color=color, linestyle="", marker=marker)
    is_chosen = trials["chosen"].to_numpy(bool)
    stars = trials["learning_rate"][is_chosen], accuracy[is_chosen].clip(lower=bottom)
    ax.plot(*stars, linestyle="", color=color, **STAR)


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


def losses(curves: pd.DataFrame, looks: Looks) -> Figure:
    """Return a figure of the loss against updates, a panel for each split.

    Args:
        curves: Columns arm, split, updates, loss, loss_low and loss_high.
        looks: How the line of every arm looks.
    """
    curves = curves.rename(columns={"loss": "mean", "loss_low": "low", "loss_high": "high"})
    panels = {title: curves[curves["split"] == split] for split, title in SPLITS.items()}
    return _over_updates(panels, looks)


def measures(norms: pd.DataFrame, looks: Looks) -> Figure:
    """Return a figure of the norms against updates, a panel for each.

    Args:
        norms: Columns arm, measure, updates, mean, low and high.
        looks: How the line of every arm looks.
    """
    panels = {NAMES[name]: norms[norms["measure"] == name] for name in NORMS}
    return _over_updates(panels, looks)


def layers(norms: pd.DataFrame) -> Figure:
    """Return a figure of the norms of every layer, an arm per column, halfway through training.

    Of a deep network, layers at equal distances are shown.

    Args:
        norms: Columns arm, layer, measure, updates and mean.
    """
    halfway = norms[norms["updates"] == norms["arm"].map(_middle_updates(norms))]
    names = list(dict.fromkeys(halfway["layer"]))
    names = names[:: math.ceil(len(names) / LAYERS)]
    shown = halfway[halfway["layer"].isin(names)]
    measured = [name for name in BY_LAYER if (shown["measure"] == name).any()]
    arms = list(dict.fromkeys(shown["arm"]))
    with style():
        height = CELL * len(names) * len(measured) + LAYER_FRAME
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        panels = figure.subplots(len(measured), 1, squeeze=False, sharex=True)[:, 0]
        for ax, measure in zip(panels, measured, strict=True):
            rows = shown[shown["measure"] == measure]
            table = rows.pivot(index="layer", columns="arm", values="mean")
            draw_layers(ax, table.reindex(index=names, columns=arms))
            ax.set_title(NAMES[measure])
        panels[-1].set_xticks(range(len(arms)), arms, rotation=30, ha="right")
    return figure


def _middle_updates(norms: pd.DataFrame) -> dict[str, float]:
    """Return the middle one of the updates of every arm: arms may be measured at other ones."""
    points = {arm: sorted(set(rows["updates"])) for arm, rows in norms.groupby("arm")}
    return {str(arm): updates[len(updates) // 2] for arm, updates in points.items()}


def draw_layers(ax: Axes, table: pd.DataFrame) -> None:
    """Draw a table of numbers over shades of their logarithms, the first layer on top.

    A layer that an arm does not train has a dash.

    Args:
        ax: The panel. Each cell is a square of size 1, around whole numbers.
        table: A row per layer and a column per arm.
    """
    shades = table.map(lambda value: math.log10(value) if value > 0 else math.nan)
    ax.imshow(shades.to_numpy(float), cmap="Blues", aspect="auto", alpha=0.6)
    for (row, column), number in np.ndenumerate(table.to_numpy(float)):
        text = VOID if math.isnan(number) else f"{number:.2g}"
        ax.text(column, row, text, ha="center", va="center", fontsize=SMALL)
    ax.set_yticks(range(len(table)), table.index, fontsize=SMALL)
    ax.grid(visible=False)


def _over_updates(panels: Mapping[str, pd.DataFrame], looks: Looks) -> Figure:
    """Return a figure with a logarithmic panel for each table that has rows.

    Args:
        panels: Tables of arm, updates, mean, low and high, by the name of their vertical axis.
        looks: How the line of every arm looks.
    """
    panels = {name: frame for name, frame in panels.items() if len(frame)}
    with style():
        height = max(PANEL, NAME * len(looks)) * len(panels) + FRAME
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
        for ax, (name, frame) in zip(axes, panels.items(), strict=True):
            for arm, look in looks.items():
                draw_line(ax, frame[frame["arm"] == arm], look)
            ax.set_ylabel(name)
            set_logarithmic(ax, frame["mean"].astype(float))
        axes[-1].set_xlabel("updates")
        palette = {arm: str(look["color"]) for arm, look in looks.items()}
        for ax, frame in zip(axes, panels.values(), strict=True):
            last = frame.sort_values("updates").groupby("arm")["mean"].last().dropna()
            write_ends(figure, ax, last.to_dict(), palette)
    return figure


def draw_line(ax: Axes, rows: pd.DataFrame, look: Mapping[str, Any]) -> None:
    """Draw the means of one arm against updates, with their band."""
    rows = rows.sort_values("updates")
    ax.plot(rows["updates"], rows["mean"], markersize=5, **look)
    updates, low, high = (rows[name].astype(float) for name in ("updates", "low", "high"))
    ax.fill_between(updates, low, high, color=look["color"], alpha=BAND, linewidth=0)


def _look(place: int, color: str) -> dict[str, Any]:
    """Return how an arm is drawn: the baseline dashed, others by color and marker."""
    if place == 0:
        return {"color": DARK, "linestyle": DASHES}
    return {"color": color, "marker": MARKERS[(place - 1) % len(MARKERS)]}


def _set_rates(ax: Axes, rates: pd.Series) -> None:
    """Make the horizontal axis logarithmic, with plain labels that do not overlap."""
    span = rates.max() / rates.min()
    subs = (1.0, 2.0, 5.0) if span < NARROW else (1.0,)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=subs, numticks=5))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _add_rate_legend(figure: Figure, trials: pd.DataFrame, is_lower: pd.Series) -> None:
    """Add what the marks mean below a figure, of those that it has.

    Args:
        figure: The figure.
        trials: Those of all arms, as `rates` takes them.
        is_lower: Which trials are lower than their panel.
    """
    has_diverged = trials["diverged"] > 0
    is_low = is_lower & ~has_diverged
    dot: dict[str, Any] = {"color": DARK, "linestyle": ""}
    marks: dict[str, Artist] = {
        "trial": Line2D([], [], marker="o", **dot),
        "chosen": Line2D([], [], **dot, **STAR),
    }
    if trials["fitted"].notna().any():
        marks["response curve"] = Line2D([], [], color=DARK, linestyle=":")
    marks["range that works"] = Patch(color=DARK, alpha=BAND)
    if is_low.any():
        marks["lower than shown"] = Line2D([], [], marker="v", **dot)
    if has_diverged.any():
        marks["a run diverged"] = Line2D([], [], marker="x", **dot)
    columns = min(3, len(marks))
    figure.legend(list(marks.values()), list(marks), loc="outside lower center", ncols=columns)


def _best(trials: pd.DataFrame) -> float:
    """Return the highest accuracy of trials (%)."""
    best = 100 * trials["validation_accuracy"].max()
    return 100.0 if math.isnan(best) else float(best)


def _depth(trials: pd.DataFrame) -> float:
    """Return how many points below the best trial of an arm are shown, without collapsed trials."""
    depths = [LEAST_DEPTH]
    for _, scores in trials.dropna(subset=["validation_accuracy"]).groupby("arm"):
        accuracy = 100 * scores["validation_accuracy"]
        depths.append(float(accuracy.max() - accuracy.min()))
    return min(max(depths), DEPTH)
