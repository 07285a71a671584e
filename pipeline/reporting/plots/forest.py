"""Draw every contrast of the primary metric on one line, with its intervals and verdict."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from pipeline.comparison.verdicts import Verdict
from pipeline.config.families import Family
from pipeline.records.tables import rows_of
from pipeline.reporting.evidence import MOST, ReportData
from pipeline.reporting.labels import verdict_label
from pipeline.reporting.markdown import INTERVAL, Formatter, format_margin
from pipeline.reporting.style import (
    DARK,
    FAMILIES,
    GREY,
    SHAPES,
    WIDTH,
    arm_colors,
    is_colored_by_family,
    style,
)
from pipeline.reporting.units import PRIMARY_METRIC, Metric

ROW = 0.24  # inches of height for one line
FRAME = 0.62  # inches of height for the axis and what is around it
ENTRY = 0.25  # inches of height for a row of the legend
LETTER = 0.08  # inches, the mean width of a letter
HANDLE = 0.42  # inches for the handle of an entry of the legend, and the space after it
LONGEST = 25  # letters of a name
FARTHER = 2  # times the reach of most intervals that an axis goes
ROOM, ROOM_FOR_ARROW = 0.06, 0.2  # of what an axis shows, beyond it
ARROW = 0.08  # length, as a share of the axis
SHADE = "#e2e2e2"
MARK_ROOM = 0.2  # inches between a name and the axis, for the mark of a family
FAMILY_MARK: dict[str, Any] = {"markersize": 6.5, "linestyle": ""}
VERDICT_MARKERS = {  # (verdict, below the margin): marker and whether it is filled
    (Verdict.HELPS, False): (">", True),
    (Verdict.HELPS, True): (">", False),
    (Verdict.EQUIVALENT, False): ("s", True),
    (Verdict.INCONCLUSIVE, False): ("o", False),
    (Verdict.HURTS, True): ("<", False),
    (Verdict.HURTS, False): ("<", True),
}
MIRRORED = {">": "<", "<": ">"}  # where a lower score is better


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the forest plot."""
    rows = forest_rows(data)
    yield "forest", forest(rows, data.confirmation.margin, arm_colors(data), data.format)


def forest_rows(data: ReportData) -> pd.DataFrame:
    """Return the contrasts to draw, grouped by reference, with the name and family of each arm."""
    families = {(study, arm.name): arm.family for study, arm in data.planned_arms}
    rows = largest(data.grouped)
    keys = list(zip(rows["study"], rows["arm"], strict=True))
    return rows.assign(
        title=[data.named(*key) for key in keys], family=[families[key] for key in keys]
    )


def largest(contrasts: pd.DataFrame) -> pd.DataFrame:
    """Return all contrasts, or the `MOST` largest differences of more, in the given order."""
    if len(contrasts) <= MOST:
        return contrasts
    return contrasts.loc[contrasts["difference"].abs().nlargest(MOST).index.sort_values()]


def forest(
    contrasts: pd.DataFrame,
    margin: float,
    palette: Mapping[str, str],
    formatter: Formatter,
    metric: Metric = PRIMARY_METRIC,
) -> Figure:
    """Return a figure with a line for every contrast, the first row on top.

    Args:
        contrasts: Columns arm, title, against, family, verdict and below_margin, and difference,
            low, high, low_90 and high_90 in the units of the metric. Rows with the same `against`
            are together.
        margin: The margin of equivalence, in the same units.
        palette: The color of every arm.
        formatter: The format of differences.
        metric: The metric that is compared.
    """
    groups = list(dict.fromkeys(contrasts["against"]))
    headed = len(groups) > 1
    lines = len(contrasts) + len(groups) * headed
    with style():
        legend = _legend_rows(contrasts, margin, metric, palette)
        frame = FRAME + ENTRY * len(legend)
        families = _marked_families(contrasts, palette)
        figure = Figure(figsize=(WIDTH, ROW * lines + frame))
        names = [shorten(title) for title in contrasts["title"]]
        words = [line_words(row, formatter, metric) for row in rows_of(contrasts)]
        ax = _axes(figure, names, words, frame, MARK_ROOM if families else 0.0)
        draw_forest(ax, contrasts, margin, palette, words, metric, headed=headed)
        if families:
            _mark_families(figure, ax, contrasts, palette)
        _add_legend(figure, legend)
    return figure


def draw_forest(
    ax: Axes,
    contrasts: pd.DataFrame,
    margin: float,
    palette: Mapping[str, str],
    words: Sequence[str],
    metric: Metric = PRIMARY_METRIC,
    *,
    headed: bool = False,
) -> None:
    """Draw the names, intervals and numbers of contrasts into `ax`; see `forest`.

    Args:
        ax: The axes; names are written left of it, and `words` right of it.
        contrasts: The contrasts, as `forest` takes them.
        margin: The margin of equivalence, in the units of the metric.
        palette: The color of every arm.
        words: What is written at the end of each line.
        metric: The metric that is compared.
        headed: Whether to write the reference above every group of arms.
    """
    shown = metric.scale * margin
    ends = metric.scale * contrasts[["difference", "low", "high"]].stack()
    _set_limits(ax, ends, shown, _reach(contrasts, margin, metric.scale))
    aside = blended_transform_factory(ax.transAxes, ax.transData)
    ticks, names, height, group = [], [], 0, None
    for row, text in zip(contrasts.itertuples(), words, strict=True):
        if headed and row.against != group:
            group = row.against
            place: dict[str, Any] = {"transform": aside, "va": "center", "ha": "right"}
            ax.text(-0.02, height, f"against {group}", style="italic", **place)
            height += 1
        draw_interval(ax, row, height, palette[row.arm], metric)
        look: dict[str, Any] = {"transform": aside, "va": "center", "color": DARK}
        ax.text(1.02, height, text, **look)
        ticks.append(height)
        names.append(shorten(row.title))
        height += 1
    ax.axvspan(-shown, shown, color=SHADE, linewidth=0, zorder=0)
    ax.axvline(0, color=DARK, linewidth=1.2, zorder=1)
    ax.set_yticks(ticks, names)
    ax.set_ylim(height - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    better = ", lower is better" if metric.lower_is_better else ""
    ax.set_xlabel(f"difference in {metric.difference_label}{better}, {INTERVAL}")
    ax.grid(visible=False)


def draw_interval(
    ax: Axes, row: Any, height: float, color: str, metric: Metric = PRIMARY_METRIC
) -> None:
    """Draw one contrast; an arrow at the edge of the axis shows what is beyond it."""
    left, right = ax.get_xlim()
    low, middle, high = (metric.scale * end for end in (row.low, row.difference, row.high))
    if pd.notna(low):
        start, end = low, high
        if low < left:
            start = left + ARROW * (right - left)
            _draw_arrow(ax, 0.0, height, color)
        if high > right:
            end = right - ARROW * (right - left)
            _draw_arrow(ax, 1.0, height, color)
        inner = metric.scale * row.low_90, metric.scale * row.high_90
        for ends, width in (((low, high), 1.5), (inner, 4)):
            line: dict[str, Any] = {"linewidth": width, "solid_capstyle": "butt", "zorder": 2}
            shown = max(ends[0], start), min(ends[1], end)
            if shown[0] <= shown[1]:
                ax.plot(shown, [height, height], color=color, **line)
    if left <= middle <= right:
        marker, filled = _marker(row.verdict, row.below_margin, metric)
        look: dict[str, Any] = {"edgecolor": color, "linewidth": 1.6, "zorder": 3}
        face = color if filled else "white"
        ax.scatter([middle], [height], s=50, marker=marker, facecolor=face, **look)


def _draw_arrow(ax: Axes, edge: float, height: float, color: str) -> None:
    """Draw an arrow to the left edge (0.0) or the right one (1.0) of the axis."""
    place = blended_transform_factory(ax.transAxes, ax.transData)
    arrow = {"arrowstyle": "->", "color": color, "linewidth": 1.5, "mutation_scale": 12}
    start = ARROW if edge == 0 else 1 - ARROW
    look: dict[str, Any] = {"xycoords": place, "textcoords": place, "arrowprops": arrow}
    ax.annotate("", (edge, height), (start, height), **look)


def line_words(
    row: Mapping[str, Any], formatter: Formatter, metric: Metric = PRIMARY_METRIC
) -> str:
    """Return the numbers and the verdict of one contrast."""
    if pd.isna(row["difference"]):
        return "no pair of runs"
    lost = f"; {row['lost']} lost" if row.get("lost") else ""
    return f"{formatter.change(row, metric, unit='')}  {verdict_label(row)}{lost}"


def _marker(verdict: str, below_margin: bool, metric: Metric) -> tuple[str, bool]:
    """Return the marker of a verdict, which points where the score goes, and if it is filled."""
    marker, filled = VERDICT_MARKERS[Verdict(verdict), below_margin]
    return MIRRORED.get(marker, marker) if metric.lower_is_better else marker, filled


def shorten(name: str) -> str:
    """Return a name, cut where it is longer than a line allows."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 8]}…{name[-7:]}"


def _axes(
    figure: Figure, names: Sequence[str], words: Sequence[str], frame: float, beside: float
) -> Axes:
    """Return axes with room for names on the left and words on the right.

    Args:
        figure: The figure.
        names: The names on the left.
        words: The words on the right.
        frame: The inches below the axes.
        beside: The inches between the names and the axes.
    """
    left = LETTER * max((len(name) for name in names), default=0) + 0.1 + beside
    right = LETTER * max((len(line) for line in words), default=0) + 0.15
    height = figure.get_figheight()
    bottom, top = (frame - 0.1) / height, 1 - 0.1 / height
    width = max(WIDTH - left - right, 0.2 * WIDTH)
    return figure.add_axes((left / WIDTH, bottom, width / WIDTH, top - bottom))


def _reach(contrasts: pd.DataFrame, margin: float, scale: float) -> float:
    """Return the limit of the axis as shown: one wide interval must not compress all others."""
    farthest = contrasts[["difference", "low", "high"]].abs().max(axis=1).dropna()
    return FARTHER * scale * max(farthest.quantile(0.75) if len(farthest) else 0.0, margin)


def _set_limits(ax: Axes, ends: pd.Series, margin: float, reach: float) -> None:
    """Make room for the margin, the zero line, and every interval end within reach."""
    is_near = ends.abs() <= reach
    shown = pd.concat([ends[is_near], pd.Series([-margin, margin])])
    span = shown.max() - shown.min()
    room_on_left = ROOM_FOR_ARROW if (ends < -reach).any() else ROOM
    room_on_right = ROOM_FOR_ARROW if (ends > reach).any() else ROOM
    ax.set_xlim(shown.min() - room_on_left * span, shown.max() + room_on_right * span)


def _legend_rows(
    contrasts: pd.DataFrame, margin: float, metric: Metric, palette: Mapping[str, str]
) -> list[list[Any]]:
    """Return the rows of the legend: the meaning of markers and bars, then of colors."""
    entries: list[Any] = [Patch(color=SHADE, label=f"margin (±{format_margin(margin, metric)})")]
    rows = rows_of(contrasts)
    look: dict[str, Any] = {"markersize": 7, "color": GREY, "markeredgewidth": 1.6}
    labels = {(row["verdict"], row["below_margin"]): verdict_label(row) for row in rows}
    for judged in VERDICT_MARKERS:
        if judged in labels:
            marker, filled = _marker(*judged, metric)
            face = GREY if filled else "white"
            entry = Line2D([], [], linestyle="", marker=marker, markerfacecolor=face, **look)
            entry.set_label(labels[judged])
            entries.append(entry)
    entries.append(Line2D([], [], color=GREY, linewidth=4, label="thick: 90 %"))
    if contrasts[["low", "high"]].abs().max(axis=None) > _reach(contrasts, margin, 1.0):
        entries.append(Line2D([], [], color="none", label="→ beyond the axis: see its numbers"))
    families = [
        Line2D([], [], **FAMILY_MARK, marker=SHAPES[name], color=FAMILIES[name], label=name)
        for name in _marked_families(contrasts, palette)
    ]
    return [*_broken(entries), *(_broken(families) if families else [])]


def _marked_families(contrasts: pd.DataFrame, palette: Mapping[str, str]) -> list[Family]:
    """Return the families that colors stand for; empty if each arm has a color of its own."""
    arms = list(zip(contrasts["arm"], contrasts["family"], strict=True))
    present = {family for _, family in arms}
    if len(present) < 2 or not is_colored_by_family(arms, palette):
        return []
    return [family for family in FAMILIES if family in present]


def _mark_families(
    figure: Figure, ax: Axes, contrasts: pd.DataFrame, palette: Mapping[str, str]
) -> None:
    """Draw the mark of its family between the name and the interval of every arm."""
    ax.tick_params(axis="y", pad=72 * MARK_ROOM)
    beside = ScaledTranslation(-MARK_ROOM / 2, 0, figure.dpi_scale_trans)
    place = blended_transform_factory(ax.transAxes, ax.transData) + beside
    look: dict[str, Any] = {"transform": place, "clip_on": False, **FAMILY_MARK}
    for height, row in zip(ax.get_yticks(), rows_of(contrasts), strict=True):
        ax.plot(0, height, marker=SHAPES[row["family"]], color=palette[row["arm"]], **look)


def _broken(entries: Sequence[Any]) -> list[list[Any]]:
    """Return the entries of a legend in rows that fit the width of the figure."""
    rows: list[list[Any]] = [[]]
    inches = 0.0
    for entry in entries:
        wide = HANDLE + 0.9 * LETTER * len(str(entry.get_label()))
        if rows[-1] and inches + wide > WIDTH:
            rows.append([])
            inches = 0.0
        rows[-1].append(entry)
        inches += wide
    return rows


def _add_legend(figure: Figure, rows: Sequence[Sequence[Any]]) -> None:
    """Write the rows of the legend below the axis."""
    look: dict[str, Any] = {
        "handlelength": 1.2,
        "columnspacing": 1.2,
        "handletextpad": 0.5,
        "loc": "lower center",
        "borderaxespad": 0.0,
        "borderpad": 0.0,
    }
    height = figure.get_figheight()
    for number, entries in enumerate(reversed(rows)):
        place = (0.5, (0.06 + ENTRY * number) / height)
        figure.legend(handles=entries, ncols=len(entries), bbox_to_anchor=place, **look)
