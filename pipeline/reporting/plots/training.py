"""Draw training where arms search their learning rate: rates tried, loss and norms over updates."""

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

from pipeline.comparison.norms import ALL, NORMS
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.markdown import VOID
from pipeline.reporting.plots._names import write_ends
from pipeline.reporting.plots.curves import set_logarithmic
from pipeline.reporting.style import DARK, DASHES, MARKERS, STAR, TYPE, WIDTH, arm_colors, style

BAND = 0.12  # opacity; many bands lie over each other
DEPTH = 12.0  # points below the best of an arm that are shown, at most
LEAST_DEPTH = 1.0  # points, where all trials are as accurate
MARGIN = 0.8  # points
NARROW = 100  # ratio of rates, below which there are ticks within a decade
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
        arms = {arm.name: _look(place, palette[arm.name]) for place, arm in enumerate(study.arms)}
        curves = of(data.curves, study.name)
        if len(curves):
            yield f"loss_{study.name}", losses(curves, arms)
        norms = of(data.norms, study.name)
        if len(norms):
            yield f"norms_{study.name}", measures(norms[norms["layer"] == ALL], arms)
            by_layer = norms[norms["layer"] != ALL]
            if len(by_layer):
                yield f"layers_{study.name}", layers(by_layer)


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
    arms = list(dict.fromkeys(trials["arm"]))
    ends = ranges.set_index("arm")[["low", "high"]]
    tops = {arm: _best(trials[trials["arm"] == arm]) for arm in arms}
    depth = _depth(trials)
    with style():
        columns = min(2, len(arms))
        rows = -(-len(arms) // columns)
        figure = Figure(figsize=(WIDTH, 2.4 * rows + 1.2), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for ax, arm in zip(panels.flat, arms, strict=False):
            low, high = ends.loc[arm]
            if pd.notna(low):
                ax.axvspan(low, high, color=palette[arm], alpha=BAND, linewidth=0)
            bottom = tops[arm] - depth
            draw_rates(ax, trials[trials["arm"] == arm], palette[arm], bottom)
            ax.set_ylim(bottom - MARGIN, tops[arm] + MARGIN)
            ax.set_title(arm)
        for ax in panels.flat[len(arms) :]:
            ax.set_visible(False)
        for place in range(columns):
            lowest = panels[(len(arms) - 1 - place) // columns, place]
            lowest.tick_params(labelbottom=True)
            lowest.set_xlabel("learning rate")
        _set_rates(panels[0, 0], trials["learning_rate"])
        figure.supylabel("validation accuracy (%)", fontsize=TYPE)
        bottoms = trials["arm"].map(tops) - depth
        _add_rate_legend(figure, trials, 100 * trials["validation_accuracy"] < bottoms)
    return figure


def draw_rates(ax: Axes, trials: pd.DataFrame, color: str, bottom: float) -> None:
    """Draw the trials of one arm and its response curve; those below `bottom` (%) stand there."""
    trials = trials.sort_values("learning_rate")
    accuracy = 100 * trials["validation_accuracy"]
    diverged = trials["diverged"] > 0
    is_low = (accuracy < bottom) & ~diverged
    marks = {"o": ~diverged & ~is_low, "v": is_low, "x": diverged}
    ax.plot(trials["learning_rate"], 100 * trials["fitted"], color=color, linestyle=":")
    for marker, chosen in marks.items():
        heights = accuracy[chosen] if marker == "o" else [bottom] * len(trials[chosen])
        ax.plot(trials["learning_rate"][chosen], heights, color=color, linestyle="", marker=marker)
    star = trials["chosen"].to_numpy(bool)
    heights = accuracy[star].clip(lower=bottom)
    ax.plot(trials["learning_rate"][star], heights, linestyle="", color=color, **STAR)


def losses(curves: pd.DataFrame, arms: Looks) -> Figure:
    """Return a figure of the loss against updates, a panel for each split; `arms` has the looks."""
    panels = {
        title: curves[curves["split"] == split].rename(
            columns={"loss": "mean", "loss_low": "low", "loss_high": "high"}
        )
        for split, title in SPLITS.items()
    }
    return _over_updates({name: frame for name, frame in panels.items() if len(frame)}, arms)


def measures(norms: pd.DataFrame, arms: Looks) -> Figure:
    """Return a figure of the norms against updates, a panel for each."""
    panels = {NAMES[name]: norms[norms["measure"] == name] for name in NORMS}
    return _over_updates({name: frame for name, frame in panels.items() if len(frame)}, arms)


def layers(norms: pd.DataFrame) -> Figure:
    """Return a figure of the norms of every layer, an arm per column, halfway through training.

    `norms` has arm, layer, measure, updates and mean. Of a deep network, layers at equal distances
    are shown.
    """
    halfway = norms[norms["updates"] == norms["arm"].map(_middle_updates(norms))]
    names = list(dict.fromkeys(halfway["layer"]))
    step = -(-len(names) // LAYERS)
    shown = halfway[halfway["layer"].isin(names[::step])]
    measured = [name for name in BY_LAYER if (shown["measure"] == name).any()]
    arms = list(dict.fromkeys(shown["arm"]))
    with style():
        height = 0.2 * len(names[::step]) * len(measured) + 2.2
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        panels = figure.subplots(len(measured), 1, squeeze=False, sharex=True)[:, 0]
        for ax, measure in zip(panels, measured, strict=True):
            rows = shown[shown["measure"] == measure]
            table = rows.pivot(index="layer", columns="arm", values="mean")
            draw_layers(ax, table.reindex(index=names[::step], columns=arms))
            ax.set_title(NAMES[measure])
        panels[-1].set_xticks(range(len(arms)), arms, rotation=30, ha="right")
    return figure


def _middle_updates(norms: pd.DataFrame) -> dict[str, float]:
    """Return the middle one of the updates of every arm: arms may be measured at other ones."""
    points = {arm: sorted(set(rows["updates"])) for arm, rows in norms.groupby("arm")}
    return {str(arm): updates[len(updates) // 2] for arm, updates in points.items()}


def draw_layers(ax: Axes, table: pd.DataFrame) -> None:
    """Draw numbers over their logarithms as shades, the first layer on top.

    A layer that an arm does not train has a dash.
    """
    shades = table.map(lambda value: math.log10(value) if value > 0 else math.nan)
    ax.imshow(shades.to_numpy(float), cmap="Blues", aspect="auto", alpha=0.6)
    for row, numbers in enumerate(table.to_numpy(float)):
        for column, number in enumerate(numbers):
            text = VOID if math.isnan(number) else f"{number:.2g}"
            ax.text(column, row, text, ha="center", va="center", fontsize=SMALL)
    ax.set_yticks(range(len(table)), table.index, fontsize=SMALL)
    ax.grid(visible=False)


def _over_updates(panels: Mapping[str, pd.DataFrame], arms: Looks) -> Figure:
    """Return a figure with a logarithmic panel for each table of arm, updates, mean, low, high."""
    with style():
        each = max(2.6, 0.18 * len(arms))
        figure = Figure(figsize=(WIDTH, each * len(panels) + 0.5), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
        for ax, (name, frame) in zip(axes, panels.items(), strict=True):
            for arm, look in arms.items():
                rows = frame[frame["arm"] == arm].sort_values("updates")
                ax.plot(rows["updates"], rows["mean"], markersize=5, **look)
                bounds = rows["low"].astype(float), rows["high"].astype(float)
                ax.fill_between(
                    rows["updates"].astype(float),
                    *bounds,
                    color=look["color"],
                    alpha=BAND,
                    linewidth=0,
                )
            ax.set_ylabel(name)
            set_logarithmic(ax, frame["mean"].astype(float))
        axes[-1].set_xlabel("updates")
        palette = {arm: str(look["color"]) for arm, look in arms.items()}
        for ax, frame in zip(axes, panels.values(), strict=True):
            last = frame.sort_values("updates").groupby("arm")["mean"].last().dropna()
            write_ends(figure, ax, last.to_dict(), palette)
    return figure


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
    """Add what the marks mean below a figure; `is_lower` says which trials are not shown."""
    dot: dict[str, Any] = {"color": DARK, "linestyle": ""}
    is_low = is_lower & (trials["diverged"] == 0)
    looks: dict[str, tuple[bool, Artist]] = {
        "trial": (True, Line2D([], [], marker="o", **dot)),
        "chosen": (True, Line2D([], [], **dot, **STAR)),
        "response curve": (
            bool(trials["fitted"].notna().any()),
            Line2D([], [], color=DARK, linestyle=":"),
        ),
        "range that works": (True, Patch(color=DARK, alpha=BAND)),
        "lower than shown": (bool(is_low.any()), Line2D([], [], marker="v", **dot)),
        "a run diverged": (bool((trials["diverged"] > 0).any()), Line2D([], [], marker="x", **dot)),
    }
    shown = {name: artist for name, (is_there, artist) in looks.items() if is_there}
    figure.legend(
        list(shown.values()), list(shown), loc="outside lower center", ncols=min(3, len(shown))
    )


def _best(trials: pd.DataFrame) -> float:
    """Return the highest accuracy of trials (%)."""
    best = 100 * trials["validation_accuracy"].max()
    return 100.0 if math.isnan(best) else float(best)


def _depth(trials: pd.DataFrame) -> float:
    """Return how many points below the best trial of an arm are shown, without collapsed trials."""
    scores = 100 * trials.groupby("arm")["validation_accuracy"].agg(["max", "min"])
    depth = (scores["max"] - scores["min"]).max()
    return DEPTH if math.isnan(depth) else float(min(max(depth, LEAST_DEPTH), DEPTH))
