"""Draw how the settings tried differ from their reference, a panel per arm.

A value that is searched on a scale has its place on it; settings of several values, and those that
are no numbers, stand at equal distances.
"""

import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.config.plan import Dimension, PlannedArm
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.labels import SettingAxis, setting_axis
from pipeline.reporting.style import DARK, STAR, TYPE, WIDTH, arm_colors, style

NAME = "validation_accuracy"
COLUMNS = 2
LETTERS = 74  # of the size of a tick, across a figure
NUMBERS = (0.13, 0.26)  # heights in turn, as shares of a panel: neighbors may be wide
MARGIN = 0.1  # of an axis, beyond its outermost values
EDGE = {"markeredgecolor": "white", "markeredgewidth": 0.75}
SEED: dict[str, Any] = {"marker": "o", "markersize": 5, "linestyle": "", "alpha": 0.45, **EDGE}
MEAN: dict[str, Any] = {"marker": "o", "markersize": 9, **EDGE}
BELOW: dict[str, Any] = {"marker": "v", "markersize": 9, "markeredgecolor": "black"}
REFERENCE: dict[str, Any] = {"color": DARK, "linestyle": "--"}


@dataclass(frozen=True)
class Search:
    """The settings of an arm in a panel.

    Attributes:
        rows: A row for each setting, with what `tried` of the choice has.
        space: The values that are searched.
        reference: The row of the setting that the arm is compared with; None if it has none.
    """

    rows: pd.DataFrame
    space: tuple[Dimension, ...] = ()
    reference: pd.Series | None = None


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study with a choice of settings.

    Where arms search their learning rate, `rates_<study>` shows it.
    """
    for study in data.confirmation.studies_of("comparison"):
        found = searches(data, study.name)
        if found and of(data.rate_ranges, study.name).empty:
            yield f"strengths_{study.name}", strengths(found, arm_colors(data))


def searches(data: ReportData, study: str) -> dict[str, Search]:
    """Return the settings of every arm of a study that had a choice, by arm."""
    of_arms = dict(iter(of(data.tried, study).groupby("arm", sort=False)))
    arms = [arm for name, arm in data.exploration.arms() if name == study]
    return {
        arm.name: Search(of_arms[arm.name], arm.space, _reference(of_arms, arm))
        for arm in arms
        if arm.name in of_arms and _had_choice(of_arms[arm.name])
    }


def _had_choice(rows: pd.DataFrame) -> bool:
    """Return whether an arm had a choice, unlike one that was explored as a reference."""
    return len(rows) > 1 or bool(rows["chosen"].any())


def _reference(of_arms: Mapping[str, pd.DataFrame], arm: PlannedArm) -> pd.Series | None:
    """Return the only setting of the arm that another is compared with, or its chosen one."""
    if arm.name == arm.against or arm.against not in of_arms:
        return None
    rows = of_arms[arm.against]
    shown = rows if len(rows) == 1 else rows[rows["chosen"]]
    return None if shown.empty else shown.iloc[0]


def strengths(found: Mapping[str, Search], palette: Mapping[str, str]) -> Figure:
    """Return a figure of differences against setting, a panel for each search, the chosen starred.

    The differences are those in validation accuracy to the reference, paired by seed. All panels
    share their axis.

    Args:
        found: The searches by the title of their panel.
        palette: The color of every title.
    """
    columns = min(COLUMNS, len(found))
    lines = -(-len(found) // columns)
    letters = LETTERS // columns
    with style():
        figure = Figure(figsize=(WIDTH, 2.3 * lines + 1.1), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for ax, (title, search) in zip(panels, found.items(), strict=False):
            draw_changes(ax, search, palette[title], letters)
            ax.set_title("\n".join(textwrap.wrap(title, letters)))
        for ax in panels[len(found) :]:
            ax.set_axis_off()
        _share(list(panels[: len(found)]))
        marks = legend(list(found.values()))
        figure.legend(list(marks.values()), list(marks), loc="outside lower center", ncols=3)
        figure.supylabel("difference in validation accuracy (points)", fontsize=TYPE)
    return figure


def draw_changes(ax: Axes, search: Search, color: str, letters: int = LETTERS) -> None:
    """Draw the paired differences of the settings of one arm to its reference."""
    rows = search.rows
    fitted = rows["fitted"] - rows[NAME] + rows["change"]
    ax.axhline(0, zorder=1, **REFERENCE)
    draw_settings(ax, search, rows["changes"], rows["change"], fitted, color, letters)


def _share(panels: Sequence[Axes]) -> None:
    """Give all panels the limits of the widest ones."""
    limits = [ax.get_ylim() for ax in panels]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    for ax in panels:
        ax.set_ylim(low - MARGIN, high + MARGIN)


def draw_settings(
    ax: Axes,
    search: Search,
    seeds: Sequence[Sequence[float | None]],
    means: Sequence[float],
    fitted: Sequence[float],
    color: str,
    letters: int = LETTERS,
) -> None:
    """Draw a fraction of every setting in percent: seeds, mean, response curve and a star.

    A setting that has collapsed would flatten the rest. It is an arrow at the edge, with its value.

    Args:
        ax: The panel.
        search: The settings.
        seeds: Of each setting, the values by seed.
        means: Their means.
        fitted: The values on the response curve, NaN without one.
        color: The color of the arm.
        letters: How many letters of a tick fit across the panel.
    """
    axis = setting_axis(list(search.rows["setting"]), search.space, int(0.7 * letters))
    columns = {"place": axis.places, "seeds": list(seeds), "mean": list(means)}
    frame = pd.DataFrame({**columns, "fitted": list(fitted)}, index=search.rows.index)
    frame[["mean", "fitted"]] = 100 * frame[["mean", "fitted"]].astype(float)
    fallen = search.rows["collapsed"].astype(bool)
    level = frame[~fallen]
    dots = [
        (place, 100 * value)
        for place, values in zip(level["place"], level["seeds"], strict=True)
        for value in values
        if value is not None
    ]
    ax.plot(*(zip(*dots, strict=True) if dots else ([], [])), color=color, **SEED)
    has_curve = frame["fitted"].notna().any()
    if has_curve:
        on_curve = frame.dropna(subset=["fitted"])
        ax.plot(on_curve["place"], on_curve["fitted"], color=color, linestyle=":", linewidth=2)
    line = "-" if axis.is_scale and not has_curve else ""
    ax.plot(level["place"], level["mean"], color=color, linestyle=line, **MEAN)
    for place, mean in frame.loc[search.rows["chosen"].astype(bool), ["place", "mean"]].to_numpy():
        ax.plot(place, mean, color=color, zorder=5, **{**STAR, "markersize": 18})
    for number, (place, mean) in enumerate(frame.loc[fallen, ["place", "mean"]].to_numpy()):
        _draw_below(ax, place, mean, color, NUMBERS[number % len(NUMBERS)])
    _limit(ax, [0.0, *(value for _, value in dots)], axis.places)
    kept = _apart(axis, letters, list(search.rows["chosen"]))
    ax.set_xticks([axis.places[each] for each in kept], [axis.ticks[each] for each in kept])
    ax.set_xlabel(axis.name)


def _draw_below(ax: Axes, place: float, value: float, color: str, height: float) -> None:
    """Draw a setting that has collapsed as an arrow with its value, wherever the panel ends."""
    across = ax.get_xaxis_transform()
    ax.plot(place, 0.06, color=color, transform=across, zorder=4, **BELOW)
    look: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 11, "zorder": 4}
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # the reference may cross it
    ax.text(place, height, f"{value:.1f}", transform=across, bbox=behind, **look)


def _limit(ax: Axes, values: Sequence[float], places: Sequence[float]) -> None:
    """Set the ends of both axes to the values shown, with a margin."""
    wide = (max(places) - min(places)) * MARGIN or 0.4
    ax.set_xlim(min(places) - wide, max(places) + wide)
    if len(values) > 1:
        high = (max(values) - min(values)) * 2 * MARGIN or 0.5
        ax.set_ylim(min(values) - high, max(values) + high)


def _apart(axis: SettingAxis, letters: int, starred: Sequence[bool]) -> list[int]:
    """Return the numbers of ticks whose labels do not touch, that of the starred one first."""
    span = (max(axis.places) - min(axis.places)) * (1 + 2 * MARGIN) or 1
    kept: list[int] = []
    for number in sorted(range(len(starred)), key=lambda each: not starred[each]):
        gaps = [abs(axis.places[number] - axis.places[other]) / span for other in kept]
        lengths = [len(axis.ticks[number]) + len(axis.ticks[other]) for other in kept]
        if all(gap * letters > length / 2 + 1 for gap, length in zip(gaps, lengths, strict=True)):
            kept.append(number)
    return sorted(kept)


def legend(found: Collection[Search]) -> dict[str, Artist]:
    """Return what the marks of a figure mean."""
    marks: dict[str, Artist] = {
        "chosen": Line2D([], [], color="white", markerfacecolor="white", **STAR),
        "mean": Line2D([], [], color=DARK, linestyle="", **MEAN),
        "a seed": Line2D([], [], color=DARK, **SEED),
    }
    rows = pd.concat([search.rows for search in found])
    if rows["fitted"].notna().any():
        marks["response curve"] = Line2D([], [], color=DARK, linestyle=":", linewidth=2)
    references = [search.reference for search in found if search.reference is not None]
    if references:
        names = {reference["arm"] for reference in references}
        marks["reference" if len(names) > 1 else names.pop()] = Line2D([], [], **REFERENCE)
    if rows["collapsed"].any():
        marks["collapsed"] = Line2D([], [], color="white", markerfacecolor="white", **BELOW)
    return marks
