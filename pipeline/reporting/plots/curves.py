"""Draw learning curves of every arm of a study over the curves of its reference."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
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
    add_legend,
    arm_colors,
    style,
    wrap_title,
)

LINES = {"train": DASHES, "validation": "-"}
ROW, FRAME = 1.95, 0.75  # inches of height for the panels of an arm, and for what is around them
FLOOR = 2.5  # the accuracy axis begins at this multiple of the largest final error
SCHEDULE = 0.3  # of the height of a panel, for the largest learning rate
SHADE = "#eeeeee"
TITLE_LINES = 2  # more of them would be taller than a panel


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study with an arm to compare."""
    palette = arm_colors(data)
    for study in data.confirmation.studies_of("comparison"):
        settings = of(data.primary, study.name).set_index("arm")["setting"]
        arms = {arm.name: arm.against for arm in study.arms if arm.name != BASELINE}
        if not arms:
            continue
        titles = {arm: arm_title(arm, settings.get(arm, {})) for arm in arms}
        yield f"curves_{study.name}", curves(of(data.curves, study.name), arms, titles, palette)


def curves(
    frame: pd.DataFrame,
    arms: Mapping[str, str],
    titles: Mapping[str, str],
    palette: Mapping[str, str],
) -> Figure:
    """Return a figure of accuracy and loss against updates, a row for every arm.

    Args:
        frame: Columns arm, split, updates, learning_rate and, for accuracy (fraction) and loss
            (nats), the mean under that name with its _low and _high.
        arms: The arms, each with the arm that it is compared with.
        titles: The title of every arm.
        palette: The color of every arm.
    """
    with style():
        figure = Figure(figsize=(WIDTH, ROW * len(arms) + FRAME), layout="constrained")
        panels = figure.subplots(len(arms), 2, squeeze=False)
        for row, (arm, against) in zip(panels, arms.items(), strict=True):
            reference, shown = (frame[frame["arm"] == name] for name in (against, arm))
            for ax, metric, scale in zip(row, ("accuracy", "loss"), (100.0, 1.0), strict=True):
                draw_schedule(ax, shown)
                draw_curves(ax, reference, metric, scale, color=DARK)
                draw_curves(ax, shown, metric, scale, color=palette[arm], marker="o")
                ax.set_xlabel("updates")
                both = pd.concat([reference, shown])
            _set_floor(row[0], both)
            set_logarithmic(row[1], both["loss"].astype(float))
            row[0].set_ylabel("accuracy (%)")
            row[1].set_ylabel("loss (nats)")
            row[0].set_title(_title(arm, titles[arm], against))
        add_legend(
            figure,
            {
                "arm": {"color": GREY, "marker": "o"},
                "its reference": {"color": DARK},
                "validation": {"color": GREY},
                "train": {"color": GREY, "linestyle": DASHES},
                "learning rate": {"color": SHADE, "linewidth": 8},
            },
        )
    return figure


def _title(arm: str, title: str, against: str) -> str:
    """Return the title of a row: that of the arm where two lines hold it, otherwise its name."""
    suffix = "" if against == BASELINE else f", against {against}"
    whole = wrap_title(f"{title}{suffix}")
    is_short = len(whole.splitlines()) <= TITLE_LINES
    return whole if is_short else wrap_title(f"{arm}{suffix}")


def draw_schedule(ax: Axes, frame: pd.DataFrame) -> None:
    """Shade the learning rate of an arm at the foot of a panel, as a share of its largest."""
    rows = frame[frame["split"] == "validation"]
    rates = rows["learning_rate"].astype(float)
    if rates.notna().any() and rates.max() > 0:
        height = SCHEDULE * rates / rates.max()
        look: dict[str, Any] = {"color": SHADE, "linewidth": 0, "zorder": 0}
        updates = rows["updates"].astype(float)
        ax.fill_between(updates, 0, height, transform=ax.get_xaxis_transform(), **look)


def draw_curves(
    ax: Axes, frame: pd.DataFrame, metric: str, scale: float, color: str, marker: str = ""
) -> None:
    """Draw one metric of one arm on both splits, with bands."""
    look: dict[str, Any] = {"marker": marker, "markersize": 3.5, "markeredgewidth": 0}
    for split, line in LINES.items():
        rows = frame[frame["split"] == split]
        mean, low, high = (
            scale * rows[name].astype(float) for name in (metric, f"{metric}_low", f"{metric}_high")
        )
        ax.plot(rows["updates"], mean, color=color, linestyle=line, linewidth=1.6, **look)
        updates = rows["updates"].astype(float)
        ax.fill_between(updates, low, high, color=color, alpha=BAND, linewidth=0)


def set_logarithmic(ax: Axes, values: pd.Series) -> None:
    """Make the vertical axis logarithmic with a few plain labels, if there are values."""
    if values.notna().any():
        narrow = values.max() < 30 * values.min()
        subs = (1.0, 2.0, 5.0) if narrow else (1.0,)
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=subs, numticks=5))
        ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.yaxis.set_minor_formatter(NullFormatter())


def set_logarithmic_updates(ax: Axes) -> None:
    """Make the horizontal axis logarithmic with plain labels."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _set_floor(ax: Axes, frame: pd.DataFrame) -> None:
    """Begin the axis of accuracy so that final differences can be seen; a lower curve is cut."""
    validation = frame[frame["split"] == "validation"].dropna(subset=["accuracy"])
    if validation.empty:
        return
    final = validation[validation["updates"] == validation["updates"].max()]
    least = 100 * float(final["accuracy"].min())
    lowest = 100 * float(validation["accuracy"].min())
    top = 100 * float(frame["accuracy"].max())
    floor = max(lowest, 100 - FLOOR * (100 - least)) - 1
    ax.set_ylim(floor, top + 0.05 * (top - floor) + 0.1)
