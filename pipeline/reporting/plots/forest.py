"""Draw every contrast of the primary metric with its interval and verdict."""

import itertools
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pipeline.comparison.verdicts import Verdict
from pipeline.reporting.evidence import MOST, ReportData
from pipeline.reporting.labels import arm_title, verdict_label
from pipeline.reporting.markdown import INTERVAL, Formatter, format_margin
from pipeline.reporting.style import DARK, WIDTH, arm_colors, legend_columns, style

STRIP = 0.34  # inches of height for one interval
LINE = 62  # letters that fit on a line
FARTHER = 2  # times the reach of most intervals that an axis goes
SHADE, GREY = "#e2e2e2", "#666666"
VERDICT_MARKERS = {  # (verdict, below the margin): marker and whether it is filled
    (Verdict.HELPS, False): (">", True),
    (Verdict.HELPS, True): (">", False),
    (Verdict.EQUIVALENT, False): ("s", True),
    (Verdict.INCONCLUSIVE, False): ("o", False),
    (Verdict.HURTS, True): ("<", False),
    (Verdict.HURTS, False): ("<", True),
}


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the forest plot."""
    rows = largest(data.distinct)
    titles = [arm_title(*pair) for pair in zip(rows["label"], rows["setting"], strict=True)]
    rows = rows.assign(title=titles)
    yield "forest", forest(rows, data.confirmation.margin, arm_colors(data), data.format)


def largest(contrasts: pd.DataFrame) -> pd.DataFrame:
    """Return all contrasts, or the `MOST` largest differences of more, in the given order."""
    if len(contrasts) <= MOST:
        return contrasts
    return contrasts.loc[contrasts["difference"].abs().nlargest(MOST).index.sort_values()]


def forest(
    contrasts: pd.DataFrame, margin: float, palette: Mapping[str, str], formatter: Formatter
) -> Figure:
    """Return a figure of every contrast, the first row on top.

    `contrasts` has arm, title, difference, low, high (fractions), verdict and below_margin;
    `margin` is a fraction.
    """
    lines = [_lines(row, formatter) for row in contrasts.to_dict("records")]
    heights = [STRIP + 0.16 + 0.235 * len(words) for words in lines]
    reach = _reach(contrasts, margin)
    with style():
        figure = Figure(figsize=(WIDTH, sum(heights) + 1.2), layout="constrained")
        ax = figure.subplots()
        bottoms = list(itertools.accumulate(heights))
        for row, words, bottom in zip(contrasts.itertuples(), lines, bottoms, strict=True):
            draw_words(ax, words, bottom)
            draw_margin(ax, margin, bottom)
            draw_interval(ax, row, bottom - STRIP / 2, palette[row.arm], reach)
        label = f"difference in test accuracy (points), {INTERVAL}"
        ax.set(ylim=(bottoms[-1] + 0.06, 0), yticks=[], xlabel=label)
        ax.grid(visible=False)
        ends = 100 * contrasts[["difference", "low", "high"]].stack()
        _set_limits(ax, ends, margin, reach)
        _add_legend(figure, contrasts, margin, cut=bool((ends.abs() > reach).any()))
    return figure


def draw_words(ax: Axes, lines: list[str], bottom: float) -> None:
    """Write one contrast above the strip of its interval."""
    look: dict[str, Any] = {"va": "bottom", "linespacing": 1.15}
    transform = ax.get_yaxis_transform()
    ax.text(0.01, bottom - STRIP - 0.03, "\n".join(lines), transform=transform, **look)


def draw_margin(ax: Axes, margin: float, bottom: float) -> None:
    """Draw the margin and the zero line behind one interval, but not behind the words above it."""
    strip = (bottom - STRIP, bottom)
    ax.fill_betweenx(strip, -100 * margin, 100 * margin, color=SHADE, linewidth=0, zorder=0)
    ax.vlines(0, *strip, color=DARK, linewidth=1.2, zorder=1)


def draw_interval(ax: Axes, row: Any, height: float, color: str, reach: float) -> None:
    """Draw one contrast; an arrow shows what is beyond `reach` (points)."""
    marker, filled = VERDICT_MARKERS[row.verdict, row.below_margin]
    low, middle, high = 100 * row.low, 100 * row.difference, 100 * row.high
    if pd.notna(low):
        ends = np.clip([low, high], -reach, reach)
        line: dict[str, Any] = {"linewidth": 3, "solid_capstyle": "butt", "zorder": 2}
        ax.plot(ends, [height, height], color=color, **line)
        arrow = {"arrowstyle": "->", "color": color, "linewidth": 2.5, "mutation_scale": 22}
        for end, beyond in zip(ends, (low < -reach, high > reach), strict=True):
            if beyond:
                start, tip = (0.9 * end, height), (1.04 * end, height)
                ax.annotate("", xy=tip, xytext=start, arrowprops=arrow)
    if abs(middle) <= reach:
        look: dict[str, Any] = {"edgecolor": color, "linewidth": 2.2, "zorder": 3}
        face = color if filled else "white"
        ax.scatter([middle], [height], s=120, marker=marker, facecolor=face, **look)


def _lines(row: Mapping[str, Any], formatter: Formatter) -> list[str]:
    """Return one contrast in words, broken into lines."""
    words = f"{formatter.change(row, unit='')}, {verdict_label(row)}"
    if pd.isna(row["difference"]):
        words = "no pair of runs"
    line = f"{row['title']}: {words}"
    return [line] if len(line) <= LINE else [*textwrap.wrap(row["title"], LINE), words]


def _reach(contrasts: pd.DataFrame, margin: float) -> float:
    """Return the limit of the axis (points): one wide interval must not compress all others."""
    farthest = contrasts[["difference", "low", "high"]].abs().max(axis=1).dropna()
    return FARTHER * 100 * max(farthest.quantile(0.75) if len(farthest) else 0.0, margin)


def _set_limits(ax: Axes, ends: pd.Series, margin: float, reach: float) -> None:
    """Make room for every interval, the margin and the zero line, as far as the axis may go."""
    ends = pd.concat([ends.clip(-reach, reach), pd.Series([-100 * margin, 100 * margin])])
    room = 0.06 * (ends.max() - ends.min())
    ax.set_xlim(ends.min() - room, ends.max() + room)


def _add_legend(figure: Figure, contrasts: pd.DataFrame, margin: float, *, cut: bool) -> None:
    handles: list[Any] = [
        Patch(color=SHADE, label=f"margin of equivalence (±{format_margin(margin)})")
    ]
    rows = contrasts.to_dict("records")
    look: dict[str, Any] = {"markersize": 11, "color": GREY, "markeredgewidth": 2}
    labels = {(row["verdict"], row["below_margin"]): verdict_label(row) for row in rows}
    for judged, (marker, filled) in VERDICT_MARKERS.items():
        if judged in labels:
            face = GREY if filled else "white"
            handle = Line2D([], [], linestyle="", marker=marker, markerfacecolor=face, **look)
            handle.set_label(labels[judged])
            handles.append(handle)
    if cut:
        handles.append(Line2D([], [], color="none", label="←, →: goes on beyond the axis"))
    columns = legend_columns([str(handle.get_label()) for handle in handles])
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
