"""Draw training where arms search their learning rate: rates tried, loss and norms over updates."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.comparison.norms import NORMS
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.plots.curves import set_logarithmic
from pipeline.reporting.style import (
    DARK,
    DASHES,
    MARKERS,
    STAR,
    WIDTH,
    add_legend,
    arm_colors,
    style,
)

BAND = 0.12  # opacity; many bands lie over each other
SPLITS = {"train": "training loss", "validation": "validation loss"}
NAMES = {
    "squared_weight_norm": "squared norm of weights",
    "gradient_norm": "norm of gradient",
    "update_ratio": "update / weights",
}
Looks = Mapping[str, Mapping[str, Any]]


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of every study with an arm that searches its learning rate."""
    palette = arm_colors(data)
    for study in data.confirmation.studies_of("comparison"):
        trials = of(data.rate_trials, study.name)
        if trials.empty:
            continue
        yield f"rates_{study.name}", rates(trials, palette)
        arms = {arm.name: _look(place, palette[arm.name]) for place, arm in enumerate(study.arms)}
        curves = of(data.curves, study.name)
        if len(curves):
            yield f"loss_{study.name}", losses(curves, arms)
        norms = of(data.norms, study.name)
        if len(norms):
            yield f"norms_{study.name}", measures(norms, arms)


def rates(trials: pd.DataFrame, palette: Mapping[str, str]) -> Figure:
    """Return a figure of validation accuracy against learning rate, a panel per arm.

    `trials` has arm, learning_rate, validation_accuracy and fitted (fractions), and whether a trial
    is the chosen one and how many of its runs diverged. All panels share both axes.
    """
    arms = list(dict.fromkeys(trials["arm"]))
    with style():
        columns = min(2, len(arms))
        rows = -(-len(arms) // columns)
        figure = Figure(figsize=(WIDTH, 2.4 * rows + 0.9), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for ax, arm in zip(panels.flat, arms, strict=False):
            draw_rates(ax, trials[trials["arm"] == arm], palette[arm])
            ax.set_title(arm)
        for ax in panels.flat[len(arms) :]:
            ax.set_visible(False)
        for place in range(columns):
            lowest = panels[(len(arms) - 1 - place) // columns, place]
            lowest.tick_params(labelbottom=True)
            lowest.set_xlabel("learning rate")
        panels[0, 0].set_xscale("log")
        panels[0, 0].set_ylim(*_limits(trials))
        figure.supylabel("validation accuracy (%)")
        add_legend(figure, _legend(trials))
    return figure


def draw_rates(ax: Axes, trials: pd.DataFrame, color: str) -> None:
    """Draw the trials of one arm, its response curve, and a cross where a run diverged."""
    trials = trials.sort_values("learning_rate")
    accuracy = 100 * trials["validation_accuracy"]
    ax.plot(trials["learning_rate"], 100 * trials["fitted"], color=color, linestyle=":")
    ax.plot(trials["learning_rate"], accuracy, color=color, linestyle="", marker="o")
    chosen = trials["chosen"].to_numpy(bool)
    ax.plot(trials["learning_rate"][chosen], accuracy[chosen], linestyle="", color=color, **STAR)
    diverged = trials.loc[trials["diverged"] > 0, "learning_rate"]
    bottom = ax.get_xaxis_transform()  # height as a share of the panel
    ax.plot(
        diverged, [0.06] * len(diverged), color=color, linestyle="", marker="x", transform=bottom
    )


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


def _over_updates(panels: Mapping[str, pd.DataFrame], arms: Looks) -> Figure:
    """Return a figure with a logarithmic panel for each table of arm, updates, mean, low, high."""
    with style():
        legend = 0.3 * len(arms)
        figure = Figure(figsize=(WIDTH, 2.9 * len(panels) + 0.5 + legend / 2), layout="constrained")
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
        add_legend(figure, {arm: look for arm, look in arms.items() if _is_shown(arm, panels)})
    return figure


def _is_shown(arm: str, panels: Mapping[str, pd.DataFrame]) -> bool:
    return any((frame["arm"] == arm).any() for frame in panels.values())


def _look(place: int, color: str) -> dict[str, Any]:
    """Return how an arm is drawn: the baseline dashed, others by color and marker."""
    if place == 0:
        return {"color": DARK, "linestyle": DASHES}
    return {"color": color, "marker": MARKERS[(place - 1) % len(MARKERS)]}


def _legend(trials: pd.DataFrame) -> Looks:
    """Return what the marks mean, as properties of lines."""
    looks: dict[str, Mapping[str, Any]] = {
        "trial": {"color": DARK, "linestyle": "", "marker": "o"},
        "chosen": {"color": DARK, "linestyle": "", **STAR},
    }
    if trials["fitted"].notna().any():
        looks["response curve"] = {"color": DARK, "linestyle": ":"}
    if (trials["diverged"] > 0).any():
        looks["a run diverged"] = {"color": DARK, "linestyle": "", "marker": "x"}
    return looks


def _limits(trials: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of the vertical axis: from 0 if a trial is far below the others."""
    scores = 100 * trials["validation_accuracy"].dropna()
    if scores.empty:
        return 0.0, 100.0
    margin = 0.08 * max(float(scores.max() - scores.min()), 1.0)
    return max(0.0, float(scores.min()) - margin), min(101.0, float(scores.max()) + margin)
