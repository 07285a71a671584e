"""Draw how the settings tried differ from their reference, a panel per arm.

A value that is searched on a scale has its place on it; settings of several values, and those that
are no numbers, are at equal distances.
"""

import itertools
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
from pipeline.reporting.labels import WHOLE, SettingAxis, setting_axis
from pipeline.reporting.style import DARK, STAR, TYPE, WIDTH, arm_colors, style

NAME = "validation_accuracy"
AXIS = "difference in validation accuracy (points)"
COLUMNS = 2
FEW = 4  # rows of panels of full height
HEIGHT, LOW_HEIGHT = 2.3, 1.9  # inches of a row of panels, of few and of more
LETTERS = 74  # of the size of a tick, across a figure
TITLE_SHARE = 0.9  # of these letters across a title, which is larger and bold
LABEL = 0.7  # of the letters across a panel: a line of the name of its axis
ARROW = 0.06  # height of an arrow at the edge, as a share of a panel
NUMBERS = (8, 23)  # points of type from an arrow up to its value, in turn: neighbors may be wide
CLEAR = (0.0, 0.25, 0.38)  # of a panel of full height: what no value of an arrow, one and more need
MARGIN = 0.1  # of an axis, beyond its outermost values
ALONE = 0.4  # beside the place of a single setting
EQUAL = 0.5  # points above and below values that are all equal
CHOSEN_SIZE = 18  # of the star, in points of type
EDGE = {"markeredgecolor": "white", "markeredgewidth": 0.75}
SEED: dict[str, Any] = {"marker": "o", "markersize": 5, "linestyle": "", "alpha": 0.45, **EDGE}
MEAN: dict[str, Any] = {"marker": "o", "markersize": 9, **EDGE}
BELOW: dict[str, Any] = {"marker": "v", "markersize": 9, "markeredgecolor": "black"}
CURVE: dict[str, Any] = {"linestyle": ":", "linewidth": 2}
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

    @property
    def arrows(self) -> int:
        """Return how many settings have collapsed: each is drawn as an arrow."""
        return len(self.rows[self.rows["collapsed"].astype(bool)])


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
        row = HEIGHT if lines <= FEW else LOW_HEIGHT
        figure = Figure(figsize=(WIDTH, row * lines + 1.1), layout="constrained")
        panels = list(figure.subplots(lines, columns, squeeze=False).ravel())
        used, empty = panels[: len(found)], panels[len(found) :]
        for ax, (title, search) in zip(used, found.items(), strict=True):
            draw_changes(ax, search, palette[title], letters)
            ax.set_title("\n".join(textwrap.wrap(title, int(TITLE_SHARE * letters), **WHOLE)))
        for ax in empty:
            ax.set_axis_off()
        arrows = max(search.arrows for search in found.values())
        _share_heights(used, CLEAR[min(arrows, len(CLEAR) - 1)] * HEIGHT / row)
        marks = legend(list(found.values()))
        figure.legend(list(marks.values()), list(marks), loc="outside lower center", ncols=3)
        if lines == 1:  # a label of the figure would be longer than a panel
            used[0].set_ylabel("\n".join(textwrap.wrap(AXIS, len(AXIS) // 2 + 4)))
        else:
            figure.supylabel(AXIS, fontsize=TYPE)
    return figure


def _share_heights(panels: Sequence[Axes], clear: float) -> None:
    """Give all panels the limits of the widest ones.

    Args:
        panels: The panels.
        clear: The share of their height, at the bottom, in which the line of the reference is not.
    """
    limits = [ax.get_ylim() for ax in panels]
    low = min(low for low, _ in limits) - MARGIN
    high = max(high for _, high in limits) + MARGIN
    low = min(low, -high * clear / (1 - clear))  # at which 0 is at that share of the height
    for ax in panels:
        ax.set_ylim(low, high)


def draw_changes(ax: Axes, search: Search, color: str, letters: int = LETTERS) -> None:
    """Draw the paired differences of the settings of one arm to its reference, in points.

    A setting that has collapsed would flatten the rest. It is an arrow at the edge, with its value.

    Args:
        ax: The panel.
        search: The settings.
        color: The color of the arm.
        letters: How many letters of a tick fit across the panel.
    """
    axis = setting_axis(list(search.rows["setting"]), search.space, int(LABEL * letters))
    settings = _settings(search.rows, axis.places)
    has_collapsed = settings["collapsed"]
    has_curve = settings["fitted"].notna().any()
    ax.axhline(0, zorder=1, **REFERENCE)
    _draw_seeds(ax, settings[~has_collapsed], color)
    if has_curve:
        _draw_response_curve(ax, settings, color)
    is_joined = axis.is_scale and not has_curve
    _draw_means(ax, settings[~has_collapsed], color, is_joined=is_joined)
    _draw_chosen(ax, settings[settings["chosen"]], color)
    _draw_collapsed(ax, settings[has_collapsed], color)
    _set_limits(ax, settings[~has_collapsed], axis.places)
    kept = _distant_ticks(axis, letters, list(settings["chosen"]))
    ax.set_xticks([axis.places[number] for number in kept], [axis.ticks[number] for number in kept])
    ax.set_xlabel(axis.name)


def _settings(rows: pd.DataFrame, places: Sequence[float]) -> pd.DataFrame:
    """Return a row per setting with what is drawn of it.

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
    """Return fractions in points, without those of runs that are not done."""
    return [100 * value for value in values if value is not None]


def _draw_seeds(ax: Axes, settings: pd.DataFrame, color: str) -> None:
    """Draw a dot for every seed of every setting."""
    seeds = settings.explode("seeds").dropna(subset=["seeds"])
    ax.plot(seeds["place"], seeds["seeds"].astype(float), color=color, **SEED)


def _draw_response_curve(ax: Axes, settings: pd.DataFrame, color: str) -> None:
    """Draw the curve through the settings that have a value on it."""
    on_curve = settings.dropna(subset=["fitted"])
    ax.plot(on_curve["place"], on_curve["fitted"], color=color, **CURVE)


def _draw_means(ax: Axes, settings: pd.DataFrame, color: str, *, is_joined: bool) -> None:
    """Draw the mean of every setting; joined, they stand for a curve where none is fitted."""
    line = "-" if is_joined else ""
    ax.plot(settings["place"], settings["mean"], color=color, linestyle=line, **MEAN)


def _draw_chosen(ax: Axes, settings: pd.DataFrame, color: str) -> None:
    """Draw a star over the mean of the chosen setting."""
    for place, mean in settings[["place", "mean"]].to_numpy():
        ax.plot(place, mean, color=color, zorder=5, **{**STAR, "markersize": CHOSEN_SIZE})


def _draw_collapsed(ax: Axes, settings: pd.DataFrame, color: str) -> None:
    """Draw settings as arrows at the lower edge, wherever the panel ends, with their values."""
    # Places are those of settings, heights are shares of the panel: its limits may change later.
    across = ax.get_xaxis_transform()
    look: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 11, "zorder": 4}
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # the reference may cross it
    values = settings[["place", "mean"]].to_numpy()
    for (place, mean), height in zip(values, itertools.cycle(NUMBERS)):
        ax.plot(place, ARROW, color=color, transform=across, zorder=4, **BELOW)
        above: dict[str, Any] = {"xycoords": across, "textcoords": "offset points"}
        ax.annotate(f"{mean:.1f}", (place, ARROW), (0, height), bbox=behind, **above, **look)


def _set_limits(ax: Axes, settings: pd.DataFrame, places: Sequence[float]) -> None:
    """Set the ends of both axes.

    Args:
        ax: The panel.
        settings: The settings whose seeds are inside, with the reference at 0.
        places: The places of all settings, which are inside.
    """
    aside = (max(places) - min(places)) * MARGIN or ALONE
    ax.set_xlim(min(places) - aside, max(places) + aside)
    heights = [0.0, *itertools.chain.from_iterable(settings["seeds"])]
    if len(heights) > 1:
        above = (max(heights) - min(heights)) * 2 * MARGIN or EQUAL
        ax.set_ylim(min(heights) - above, max(heights) + above)


def _distant_ticks(axis: SettingAxis, letters: int, chosen: Sequence[bool]) -> list[int]:
    """Return the numbers of ticks whose labels do not touch.

    Args:
        axis: The axis.
        letters: How many letters of a tick fit across the panel.
        chosen: Whether each setting is chosen; these are kept first.
    """
    span = (max(axis.places) - min(axis.places)) * (1 + 2 * MARGIN) or 1
    # A label is centered on its place: half of it is on the side of a neighbor, of which half is on
    # this side. Between them is one letter.
    kept: list[int] = []
    for number in sorted(range(len(chosen)), key=lambda each: not chosen[each]):
        has_room = True
        for other in kept:
            distance = letters * abs(axis.places[number] - axis.places[other]) / span
            needed = (len(axis.ticks[number]) + len(axis.ticks[other])) / 2 + 1
            has_room &= distance > needed
        if has_room:
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
        marks["response curve"] = Line2D([], [], color=DARK, **CURVE)
    names = {search.reference["arm"] for search in found if search.reference is not None}
    names = names or {"chosen value"}  # with which the others of the tuned baseline are compared
    marks["reference" if len(names) > 1 else names.pop()] = Line2D([], [], **REFERENCE)
    if rows["collapsed"].any():
        marks["collapsed"] = Line2D([], [], color="white", markerfacecolor="white", **BELOW)
    return marks
