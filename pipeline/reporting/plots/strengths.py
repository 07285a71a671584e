"""Draw validation accuracy of the settings tried, a panel per arm."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pipeline.config.plan import BASELINE
from pipeline.reporting.evidence import FEWEST, ReportData, of
from pipeline.reporting.labels import setting_ticks
from pipeline.reporting.markdown import INTERVAL
from pipeline.reporting.style import DARK, STAR, WIDTH, arm_colors, style

NAME = "validation_accuracy"


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study with a choice of settings."""
    for study in data.confirmation.studies_of("comparison"):
        tried = of(data.tried, study.name)
        if len(tried):
            yield f"strengths_{study.name}", strengths(tried, arm_colors(data))


def strengths(tried: pd.DataFrame, palette: Mapping[str, str]) -> Figure:
    """Return a figure of mean validation accuracy against setting, the chosen one starred.

    Intervals are drawn from `FEWEST` seeds on: with two they fill the panel.

    `tried` has arm, setting, n, chosen, fitted (on the response curve) and validation_accuracy with
    its _low and _high, fractions.
    """
    arms = [arm for arm in dict.fromkeys(tried["arm"]) if arm != BASELINE] or [BASELINE]
    with style():
        figure = Figure(figsize=(WIDTH, 3.1 * len(arms) + 0.6), layout="constrained")
        panels = figure.subplots(len(arms), 1, squeeze=False)[:, 0]
        for ax, arm in zip(panels, arms, strict=True):
            if arm != BASELINE:
                draw_baseline(ax, tried[tried["arm"] == BASELINE])
            draw_strengths(ax, tried[tried["arm"] == arm], palette[arm])
            ax.set_title(arm)
        marks = _legend(tried, arms)
        figure.legend(
            list(marks.values()), list(marks), loc="outside lower center", ncols=len(marks)
        )
    return figure


def _legend(tried: pd.DataFrame, arms: Sequence[str]) -> dict[str, Artist]:
    """Return what the marks of a figure mean."""
    marks: dict[str, Artist] = {
        "chosen": Line2D([], [], color="white", markerfacecolor="white", **STAR)
    }
    if tried["fitted"].notna().any():
        marks["response curve"] = Line2D([], [], color=DARK, linestyle=":", linewidth=2)
    if arms != [BASELINE]:
        marks["baseline"] = Line2D([], [], color=DARK, linestyle="--")
        if tried["n"].max() >= FEWEST:
            marks[f"its {INTERVAL}"] = Patch(color=DARK, alpha=0.1)
    return marks


def draw_baseline(ax: Axes, baseline: pd.DataFrame) -> None:
    """Draw the baseline as a dashed line with its band over the whole panel."""
    for low, mean, high in _percent(baseline).itertuples(index=False):
        if pd.notna(mean):
            ax.axhline(mean, color=DARK, linestyle="--", zorder=1)
        if pd.notna(low) and baseline["n"].max() >= FEWEST:
            ax.axhspan(low, high, color=DARK, alpha=0.1, linewidth=0, zorder=0)


def draw_strengths(ax: Axes, rows: pd.DataFrame, color: str) -> None:
    """Draw the settings of one arm at equal distances, with intervals and a star."""
    values = _percent(rows)
    places = list(range(len(rows)))
    if rows["n"].max() >= FEWEST:
        ax.vlines(places, values["low"], values["high"], color=color, linewidth=3)
    fitted = 100 * rows["fitted"].astype(float)
    ax.plot(places, fitted, color=color, linestyle=":", linewidth=2)
    dots: dict[str, Any] = {
        "marker": "o",
        "markersize": 9,
        "markeredgecolor": "white",
        "markeredgewidth": 0.75,
    }
    line = "" if fitted.notna().any() else "-"
    ax.plot(places, values["mean"], color=color, linestyle=line, **dots)
    for place, chosen in zip(places, rows["chosen"], strict=True):
        if chosen:
            mean = values["mean"].iloc[place]
            ax.plot(place, mean, color=color, zorder=5, **{**STAR, "markersize": 21})
    ticks, name = setting_ticks(list(rows["setting"]))
    ax.set_xticks(places, ticks)
    ax.set(xlabel=name, ylabel="validation accuracy (%)", xlim=(-0.4, len(rows) - 0.6))
    ax.margins(y=0.12)


def _percent(rows: pd.DataFrame) -> pd.DataFrame:
    """Return low, mean and high in percent, NaN where unknown."""
    frame = rows[[f"{NAME}_low", NAME, f"{NAME}_high"]].astype(float).clip(0, 1)
    return 100 * frame.set_axis(["low", "mean", "high"], axis="columns")
