"""Draw how the settings tried differ from their reference, a panel per arm.

A value that is searched on a scale has its place on it; settings of several values, and settings
that are not numbers, are at equal distances.
"""

import itertools
import math
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.config.plan import Dimension, PlannedArm
from pipeline.records.tables import rows_of
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.labels import WHOLE, SettingAxis, setting_axis
from pipeline.reporting.plots._edges import clear_share, draw_below, value_rows
from pipeline.reporting.style import DARK, STAR, TYPE, WIDTH, style

NAME = "validation_accuracy"
SHOWN = ("setting", "changes", "chosen", "collapsed")  # columns of a search that a panel shows
AXIS = "difference in validation accuracy (points)"
COLUMNS, MANY_COLUMNS = 2, 3
FEW, MANY = 4, 6  # rows of panels of full height; more rows have more columns and smaller type
HEIGHT, LOW_HEIGHT = 2.3, 1.9  # inches of a row of panels, of few and of more
HIGHEST = 13.2  # inches of a figure
LEAST_HEIGHT, MOST_HEIGHT = 1.2, 1.6  # inches of a row of many panels
FRAME = 1.1  # inches of a figure beside its rows: the legend and the name of the axis
SMALL = 8  # points of type where panels are many
LETTERS = 74  # of the size of a tick, across a figure
TITLE_SHARE = 0.9  # of these letters across a title, which is larger and bold
LABEL = 0.7  # of the letters across a panel: a line of the name of its axis
MARGIN = 0.1  # of an axis, beyond its outermost values
BESIDE = 0.4  # beside the place of a single setting
EQUAL = 0.5  # points above and below values that are all equal
CHOSEN_SIZE = 18  # of the star, in points of type
EDGE = {"markeredgecolor": "white", "markeredgewidth": 0.75}
SEED: dict[str, Any] = {"marker": "o", "markersize": 5, "linestyle": "", "alpha": 0.45, **EDGE}
MEAN: dict[str, Any] = {"marker": "o", "markersize": 9, **EDGE}
COLLAPSED: dict[str, Any] = {"marker": "X", "markersize": 9, "markeredgecolor": "black"}
CURVE: dict[str, Any] = {"linestyle": ":", "linewidth": 2}
REFERENCE: dict[str, Any] = {"color": DARK, "linestyle": "--"}


@dataclass(frozen=True)
class Search:
    """The settings of an arm in a panel.

    Attributes:
        rows: A row for each setting, with the columns of `tried`.
        space: The values that are searched.
        reference: The row of the setting that the arm is compared with; None if it has none.
    """

    rows: pd.DataFrame
    space: tuple[Dimension, ...] = ()
    reference: pd.Series | None = None

    def shows_the_same(self, other: "Search") -> bool:
        """Return whether a panel of another search has the same marks."""
        one, two = (rows_of(each.rows[list(SHOWN)]) for each in (self, other))
        return self.space == other.space and one == two


@dataclass(frozen=True)
class Layout:
    """The grid of a figure, and the sizes of its panels and type.

    Attributes:
        columns: How many panels are beside each other.
        rows: How many are below each other.
        height: The height of a row, in inches.
        size: The size of type, in points.
    """

    columns: int = 1
    rows: int = 1
    height: float = HEIGHT
    size: int = TYPE

    @property
    def is_small(self) -> bool:
        """Return whether type is smaller than in other figures."""
        return self.size < TYPE

    @property
    def share(self) -> float:
        """Return the size of marks and type as a share of the usual one."""
        return self.size / TYPE

    @property
    def margin(self) -> float:
        """Return the share of the settings that the axis is longer on either side."""
        return MARGIN / self.share

    @property
    def letters(self) -> int:
        """Return the number of letters of a tick that fit across a panel."""
        return int(LETTERS / self.share) // self.columns


ALONE = Layout()


def layout_of(panels: int) -> Layout:
    """Return a layout for a number of panels in which the figure is at most about `HIGHEST`."""
    columns = min(COLUMNS, panels)
    rows = math.ceil(panels / columns)
    if rows <= MANY:
        return Layout(columns, rows, HEIGHT if rows <= FEW else LOW_HEIGHT)
    rows = math.ceil(panels / MANY_COLUMNS)
    height = (HIGHEST - FRAME) / rows
    return Layout(MANY_COLUMNS, rows, min(max(height, LEAST_HEIGHT), MOST_HEIGHT), SMALL)


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


def strengths(panels: Mapping[str, Search], palette: Mapping[str, str]) -> Figure:
    """Return a figure of differences against setting, a panel for each search, the chosen starred.

    The differences are in validation accuracy to the reference, paired by seed. All panels share
    their axis. Many panels are small.

    Args:
        panels: The searches by the title of their panel.
        palette: The color of every title.
    """
    layout = layout_of(len(panels))
    with style():
        height = layout.height * layout.rows + FRAME
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        grid = figure.subplots(layout.rows, layout.columns, squeeze=False)
        used: dict[str, Axes] = dict(zip(panels, grid.flat, strict=False))
        collapsed = {}
        for title, ax in used.items():
            collapsed[title] = draw_changes(ax, panels[title], palette[title], layout)
            ax.set_title(_wrapped(title, layout), fontsize=layout.size + 1)
        for ax in grid.flat[len(panels) :]:
            ax.set_axis_off()
        if layout.is_small:  # the first column has the numbers of all
            for ax in grid[:, 1:].ravel():
                ax.tick_params(labelleft=False)
        if layout.rows == 1:  # a label of the figure would be longer than a panel
            grid[0, 0].set_ylabel("\n".join(textwrap.wrap(AXIS, len(AXIS) // 2 + 4)))
        else:
            figure.supylabel(AXIS, fontsize=TYPE)
        marks = legend(list(panels.values()))
        figure.legend(list(marks.values()), list(marks), loc="outside lower center", ncols=3)
        low, high = _shared_heights(used.values())
        rows: list[int] = []
        for title, ax in used.items():
            below = collapsed[title][collapsed[title]["mean"] < low]
            rows += _value_rows(ax, below, layout)
        if rows:
            clear = clear_share(rows, _least_height(figure, used.values()), layout.share)
            low = min(low, -high * clear / (1 - clear))  # at which 0 is at that share of the height
        for title, ax in used.items():
            ax.set_ylim(low, high)
            _draw_collapsed(ax, collapsed[title], palette[title], layout)
    return figure


def _least_height(figure: Figure, panels: Iterable[Axes]) -> float:
    """Return the height of the lowest panel, in points of type."""
    figure.draw_without_rendering()  # settles the size of panels
    return 72 / figure.dpi * min(ax.get_window_extent().height for ax in panels)


def _wrapped(title: str, layout: Layout) -> str:
    """Return a title in lines of the width of a panel; a longer word breaks after a `_`."""
    width = int(TITLE_SHARE * layout.letters)
    words = [word.replace("_", "_ ") if len(word) > width else word for word in title.split()]
    lines = textwrap.wrap(" ".join(words), width, **WHOLE)
    return "\n".join(lines).replace("_ ", "_")


def _shared_heights(panels: Iterable[Axes]) -> tuple[float, float]:
    """Return the limits of the vertical axis that all panels share: the widest of all panels."""
    lows, highs = zip(*(ax.get_ylim() for ax in panels), strict=True)
    return min(lows) - MARGIN, max(highs) + MARGIN


def draw_changes(ax: Axes, search: Search, color: str, layout: Layout = ALONE) -> pd.DataFrame:
    """Draw the paired differences of the settings of one arm to its reference, in points.

    A setting that has collapsed would flatten the rest: the limits leave it out. It is drawn when
    the limits of all panels are known.

    Args:
        ax: The panel.
        search: The settings.
        color: The color of the arm.
        layout: The figure in which the panel is.

    Returns:
        The settings that have collapsed, by their place; see `_settings`.
    """
    lines = 1 if layout.is_small else 2
    width = int(LABEL * layout.letters)
    axis = setting_axis(list(search.rows["setting"]), search.space, width, lines)
    settings = _settings(search.rows, axis.places)
    has_collapsed = settings["collapsed"]
    has_curve = settings["fitted"].notna().any()
    ax.axhline(0, zorder=1, **REFERENCE)
    _draw_seeds(ax, settings[~has_collapsed], color, layout)
    if has_curve:
        _draw_response_curve(ax, settings, color)
    is_joined = axis.is_scale and not has_curve
    _draw_means(ax, settings[~has_collapsed], color, layout, is_joined=is_joined)
    _draw_chosen(ax, settings[settings["chosen"]], color, layout)
    _set_limits(ax, settings[~has_collapsed], axis.places, layout)
    shown = _distant_ticks(axis, layout, list(settings["chosen"]))
    places = [axis.places[number] for number in shown]
    ax.set_xticks(places, [axis.ticks[number] for number in shown])
    ax.tick_params(labelsize=layout.size)
    ax.set_xlabel(axis.name, fontsize=layout.size)
    return settings[has_collapsed].sort_values("place")


def _settings(rows: pd.DataFrame, places: Sequence[float]) -> pd.DataFrame:
    """Return a row per setting with its drawn values.

    Returns:
        `place` on the axis; in points of difference, `seeds` (those that are done), `mean` and
        `fitted`, the value on the response curve, which is NaN without one; `chosen`, `collapsed`.
    """
    # The curve is fitted to accuracies. That of a setting differs from its mean by as much as the
    # difference on the curve does from the mean difference.
    fitted = rows["fitted"] - rows[NAME] + rows["change"]
    columns = {
        "place": list(places),
        "seeds": [_in_points(values) for values in rows["changes"]],
        "mean": 100 * rows["change"].astype(float),
        "fitted": 100 * fitted.astype(float),
        "chosen": rows["chosen"].astype(bool),
        "collapsed": rows["collapsed"].astype(bool),
    }
    return pd.DataFrame(columns, index=rows.index)


def _in_points(values: Sequence[float | None]) -> list[float]:
    """Return fractions in points, without runs that are not done."""
    return [100 * value for value in values if value is not None]


def _draw_seeds(ax: Axes, settings: pd.DataFrame, color: str, layout: Layout) -> None:
    """Draw a dot for every seed of every setting."""
    seeds = settings.explode("seeds").dropna(subset=["seeds"])
    ax.plot(seeds["place"], seeds["seeds"].astype(float), color=color, **_sized(SEED, layout))


def _draw_response_curve(ax: Axes, settings: pd.DataFrame, color: str) -> None:
    """Draw the curve through the settings that have a value on it."""
    on_curve = settings.dropna(subset=["fitted"])
    ax.plot(on_curve["place"], on_curve["fitted"], color=color, **CURVE)


def _draw_means(
    ax: Axes, settings: pd.DataFrame, color: str, layout: Layout, *, is_joined: bool
) -> None:
    """Draw the mean of every setting; joined, they stand for a curve where none is fitted."""
    line = "-" if is_joined else ""
    look = {"color": color, "linestyle": line, **_sized(MEAN, layout)}
    ax.plot(settings["place"], settings["mean"], **look)


def _draw_chosen(ax: Axes, settings: pd.DataFrame, color: str, layout: Layout) -> None:
    """Draw a star over the mean of the chosen setting."""
    look = _sized({**STAR, "markersize": CHOSEN_SIZE}, layout)
    for place, mean in settings[["place", "mean"]].to_numpy():
        ax.plot(place, mean, color=color, zorder=5, **look)


def _draw_collapsed(ax: Axes, settings: pd.DataFrame, color: str, layout: Layout) -> None:
    """Draw settings at their value, or as arrows at the lower edge if they are below the panel."""
    low, _ = ax.get_ylim()
    is_below = settings["mean"] < low
    inside, below = settings[~is_below], settings[is_below]
    look = {"color": color, "linestyle": "", "zorder": 4, **_sized(COLLAPSED, layout)}
    for place, mean in inside[["place", "mean"]].to_numpy():
        ax.plot(place, mean, clip_on=False, **look)  # whole where it is at an edge
    rows = _value_rows(ax, below, layout)
    draw_below(ax, below["place"], _written(below), rows, color, layout.share)


def _value_rows(ax: Axes, settings: pd.DataFrame, layout: Layout) -> list[int]:
    """Return on which row above its arrow the value of every setting is."""
    left, right = ax.get_xlim()
    return value_rows(settings["place"], _written(settings), (right - left) / layout.letters)


def _written(settings: pd.DataFrame) -> list[str]:
    """Return the mean of every setting as it is written."""
    return [f"{mean:.1f}" for mean in settings["mean"]]


def _sized(look: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Return the look of a marker in a layout."""
    return {**look, "markersize": layout.share * look["markersize"]}


def _set_limits(ax: Axes, settings: pd.DataFrame, places: Sequence[float], layout: Layout) -> None:
    """Set the ends of both axes.

    Args:
        ax: The panel.
        settings: The settings whose seeds are inside, with the reference at 0.
        places: The places of all settings, which are inside.
        layout: The figure in which the panel is.
    """
    aside = (max(places) - min(places)) * layout.margin or BESIDE
    ax.set_xlim(min(places) - aside, max(places) + aside)
    heights = [0.0, *itertools.chain.from_iterable(settings["seeds"])]
    if len(heights) > 1:
        above = (max(heights) - min(heights)) * 2 * MARGIN or EQUAL
        ax.set_ylim(min(heights) - above, max(heights) + above)


def _distant_ticks(axis: SettingAxis, layout: Layout, chosen: Sequence[bool]) -> list[int]:
    """Return the numbers of ticks whose labels do not touch.

    Args:
        axis: The axis.
        layout: The figure in which the panel is.
        chosen: Whether each setting is chosen; these are kept first.
    """
    span = (max(axis.places) - min(axis.places)) * (1 + 2 * layout.margin) or 1
    # A label is centered on its place: half of it is on the side of a neighbor, of which half is on
    # this side. Between them is one letter.
    kept: list[int] = []
    for number in sorted(range(len(chosen)), key=lambda each: not chosen[each]):
        has_room = True
        for other in kept:
            distance = layout.letters * abs(axis.places[number] - axis.places[other]) / span
            needed = (len(axis.ticks[number]) + len(axis.ticks[other])) / 2 + 1
            has_room &= distance > needed
        if has_room:
            kept.append(number)
    return sorted(kept)


def legend(panels: Collection[Search]) -> dict[str, Artist]:
    """Return the marks of a figure by their meaning."""
    marks: dict[str, Artist] = {
        "chosen": Line2D([], [], color="white", markerfacecolor="white", **STAR)
    }
    rows = pd.concat([search.rows for search in panels])
    has_seeds = rows["changes"].map(len).max() > 1
    marks["mean" if has_seeds else "the only seed"] = Line2D(
        [], [], color=DARK, linestyle="", **MEAN
    )
    if has_seeds:
        marks["a seed"] = Line2D([], [], color=DARK, **SEED)
    if rows["fitted"].notna().any():
        marks["response curve"] = Line2D([], [], color=DARK, **CURVE)
    names = {search.reference["arm"] for search in panels if search.reference is not None}
    names = names or {"chosen value"}  # with which the others of the tuned baseline are compared
    marks["reference" if len(names) > 1 else names.pop()] = Line2D([], [], **REFERENCE)
    if rows["collapsed"].any():
        hollow: dict[str, Any] = {"color": "white", "linestyle": "", "markerfacecolor": "white"}
        marks["collapsed; ▼ lower than shown"] = Line2D([], [], **hollow, **COLLAPSED)
    return marks
