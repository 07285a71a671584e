"""Draw loss and norms against updates where arms search their learning rate, a line per arm."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.comparison.norms import ALL, NORMS
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.plots._names import write_ends
from pipeline.reporting.plots.curves import set_logarithmic, set_logarithmic_updates
from pipeline.reporting.style import DARK, DASHES, MARKERS, WIDTH, arm_colors, style

BAND = 0.12  # opacity; many bands lie over each other
PANEL, NAME, FRAME = 2.6, 0.18, 0.5  # inches of a panel, of a name, and around panels
LONGER = 3  # times the updates of the shortest arm, at which a linear axis would squeeze it
MARKER_SIZE = 5  # points of type
LOSSES = {"train": "training loss (nats)", "validation": "validation loss (nats)"}
LOSS_COLUMNS = {"loss": "mean", "loss_low": "low", "loss_high": "high"}
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
        if of(data.rate_trials, study.name).empty:
            continue
        looks = line_looks([arm.name for arm in study.arms], palette)
        curves = of(data.curves, study.name)
        if len(curves):
            yield f"loss_{study.name}", losses(curves, looks)
        norms = of(data.norms, study.name)
        if len(norms):
            of_network = norms[norms["layer"] == ALL]
            yield f"norms_{study.name}", measures(of_network, looks)


def line_looks(arms: Sequence[str], palette: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return how the line of every arm looks: the first dashed, others by color and marker."""
    looks: dict[str, dict[str, Any]] = {}
    for place, arm in enumerate(arms):
        marker = MARKERS[(place - 1) % len(MARKERS)]
        looks[arm] = {"color": palette[arm], "marker": marker, "markersize": MARKER_SIZE}
    looks[arms[0]] = {"color": DARK, "linestyle": DASHES}
    return looks


def losses(curves: pd.DataFrame, looks: Looks) -> Figure:
    """Return a figure of the loss against updates, a panel for each split.

    Args:
        curves: Columns arm, split, updates, loss, loss_low and loss_high.
        looks: How the line of every arm looks.
    """
    curves = curves.rename(columns=LOSS_COLUMNS)
    panels = {name: curves[curves["split"] == split] for split, name in LOSSES.items()}
    return _over_updates(panels, looks)


def measures(norms: pd.DataFrame, looks: Looks) -> Figure:
    """Return a figure of the norms against updates, a panel for each.

    Args:
        norms: Columns arm, measure, updates, mean, low and high.
        looks: How the line of every arm looks.
    """
    panels = {NAMES[measure]: norms[norms["measure"] == measure] for measure in NORMS}
    return _over_updates(panels, looks)


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
            draw_lines(ax, frame, looks)
            ax.set_ylabel(name)
        axes[-1].set_xlabel("updates")
        set_updates(axes[-1], pd.concat(panels.values()))
        palette = {arm: str(look["color"]) for arm, look in looks.items()}
        for ax, frame in zip(axes, panels.values(), strict=True):
            write_ends(figure, ax, _last_means(frame), palette)
    return figure


def draw_lines(ax: Axes, frame: pd.DataFrame, looks: Looks) -> None:
    """Draw the means of every arm against updates, with bands, on a logarithmic axis."""
    for arm, look in looks.items():
        rows = frame[frame["arm"] == arm].sort_values("updates")
        ax.plot(rows["updates"], rows["mean"], **look)
        updates, low, high = (rows[name].astype(float) for name in ("updates", "low", "high"))
        ax.fill_between(updates, low, high, color=look["color"], alpha=BAND, linewidth=0)
    set_logarithmic(ax, frame["mean"].astype(float))


def set_updates(ax: Axes, frame: pd.DataFrame) -> None:
    """Make the axis of updates logarithmic if one arm has many times the updates of another."""
    ends = frame[frame["updates"] > 0].groupby("arm")["updates"].max()
    if len(ends) and ends.max() >= LONGER * ends.min():
        set_logarithmic_updates(ax)


def _last_means(frame: pd.DataFrame) -> dict[str, float]:
    """Return the mean of every arm at its last update."""
    last = frame.sort_values("updates").groupby("arm")["mean"].last()
    means: dict[str, float] = last.dropna().to_dict()
    return means
