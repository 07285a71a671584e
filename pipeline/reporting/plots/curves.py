"""Draw learning curves of every arm of a study, the baseline behind them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from pipeline.config.plan import BASELINE
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.labels import arm_title
from pipeline.reporting.style import (
    BAND,
    DARK,
    DASHES,
    GREY,
    WIDTH,
    arm_colors,
    legend_columns,
    style,
    wrap_title,
)

LINES = {"train": DASHES, "validation": "-"}


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study with an arm to compare."""
    palette = arm_colors(data)
    for study in data.confirmation.studies_of("comparison"):
        settings = of(data.primary, study.name).set_index("arm")["setting"]
        arms = [arm.name for arm in study.arms if arm.name != BASELINE]
        if not arms:
            continue
        titles = {arm: arm_title(arm, settings.get(arm, {})) for arm in arms}
        yield f"curves_{study.name}", curves(of(data.curves, study.name), titles, palette)


def curves(frame: pd.DataFrame, arms: Mapping[str, str], palette: Mapping[str, str]) -> Figure:
    """Return a figure of accuracy and loss, a row per arm (name to title).

    `frame` has arm, split, epoch and, for accuracy (fraction) and loss (nats), the mean under that
    name with its _low and _high.
    """
    with style():
        figure = Figure(figsize=(WIDTH, 2.75 * len(arms) + 0.9), layout="constrained")
        panels = figure.subplots(len(arms), 2, squeeze=False, sharex=True, sharey="col")
        for row, (arm, title) in zip(panels, arms.items(), strict=True):
            for ax, metric, scale in zip(row, ("accuracy", "loss"), (100.0, 1.0), strict=True):
                baseline, chosen = (frame[frame["arm"] == name] for name in (BASELINE, arm))
                draw_curves(ax, baseline, metric, scale, color=palette[BASELINE])
                draw_curves(ax, chosen, metric, scale, color=palette[arm], marker="o")
            row[0].set_ylabel("accuracy (%)")
            row[1].set_ylabel("loss (nats)")
            row[0].set_title(wrap_title(title))
        for ax in panels[-1]:
            ax.set_xlabel("epoch")
        set_logarithmic(panels[0, 1], frame["loss"].astype(float))
        _add_legend(figure, list(arms), palette)
    return figure


def draw_curves(
    ax: Axes, frame: pd.DataFrame, metric: str, scale: float, color: str, marker: str = ""
) -> None:
    """Draw one metric of one arm on both splits, with bands."""
    look: dict[str, Any] = {"marker": marker, "markersize": 5, "markeredgewidth": 0}
    for split, line in LINES.items():
        rows = frame[frame["split"] == split]
        mean, low, high = (
            scale * rows[name].astype(float) for name in (metric, f"{metric}_low", f"{metric}_high")
        )
        ax.plot(rows["epoch"], mean, color=color, linestyle=line, **look)
        epochs = rows["epoch"].astype(float)
        ax.fill_between(epochs, low, high, color=color, alpha=BAND, linewidth=0)


def set_logarithmic(ax: Axes, values: pd.Series) -> None:
    """Make the vertical axis logarithmic with a few plain labels, if there are values."""
    if values.notna().any():
        narrow = values.max() < 30 * values.min()
        subs = (1.0, 2.0, 5.0) if narrow else (1.0,)
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=subs, numticks=7))
        ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.yaxis.set_minor_formatter(NullFormatter())


def _add_legend(figure: Figure, arms: Sequence[str], palette: Mapping[str, str]) -> None:
    name, color = (arms[0], palette[arms[0]]) if len(arms) == 1 else ("the arm", GREY)
    lines = {
        BASELINE: Line2D([], [], color=DARK),
        name: Line2D([], [], color=color, marker="o"),
        "validation": Line2D([], [], color=GREY),
        "train": Line2D([], [], color=GREY, linestyle=DASHES),
    }
    columns = legend_columns(lines)
    figure.legend([*lines.values()], [*lines], loc="outside lower center", ncols=columns)
