"""Set the look of every figure: width, type, colors and markers, and its bytes.

One column about 7 inches wide with large type, to be read at full size and on a phone. What color
distinguishes is also distinguished by a marker, a line or a word.
"""

import io
import itertools
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.config.plan import BASELINE
from pipeline.reporting.evidence import METHODS, ReportData

WIDTH = 7.0  # inches
DPI = 150
TITLE = 50  # letters of a panel's title on a line
SALT = "gapwise"  # of the names inside an SVG, which are random otherwise
DARK, GREY = "#333333", "#888888"
DASHES = (0, (4, 1.5))
BAND = 0.22  # opacity
PALETTE = (  # safe for the color-blind, neighbours of different lightness
    *("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"),
    *("#56b4e9", "#ca9161", "#fbafe4", "#b8a800"),
    *("#7b3294", "#00b3b3", "#a50026", "#8c6bb1", "#1b5e20", "#9e9e9e"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h")
STAR: dict[str, Any] = {"marker": "*", "markersize": 17, "markeredgecolor": "black"}
STYLE = {
    **sns.axes_style("whitegrid"),
    "font.family": ["DejaVu Sans"],
    "font.size": 14,
    "axes.titlesize": 14,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 14,
    "xtick.labelsize": 13,
    "ytick.labelsize": 13,
    "legend.fontsize": 13,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "grid.color": "#dddddd",
    "axes.edgecolor": "#888888",
    "axes.unicode_minus": False,
    "figure.constrained_layout.wspace": 0.06,
}


def colors(names: Iterable[str]) -> dict[str, str]:
    """Return a color for every name: dark grey for the baseline, others by their place."""
    others = [name for name in dict.fromkeys(names) if name != BASELINE]
    return {BASELINE: DARK, **dict(zip(others, itertools.cycle(PALETTE), strict=False))}


def arm_colors(data: ReportData) -> dict[str, str]:
    """Return the color of every arm, the same in all figures of a report."""
    return colors(arm.name for _, arm in data.planned_arms)


def method_colors(single: str, others: Iterable[str]) -> dict[str, str]:
    """Return the color of every way to predict: dark grey for the single model."""
    return colors([*METHODS[1:], *others]) | {single: DARK}


def png(figure: Figure) -> bytes:
    """Return a figure as PNG without date or version: the same bytes for the same figure."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure) -> bytes:
    """Return a figure as SVG without date or version: the same bytes for the same figure."""
    buffer = io.BytesIO()
    with style(), matplotlib.rc_context({"svg.hashsalt": SALT}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


@contextmanager
def style() -> Iterator[None]:
    """Apply matplotlib's defaults and the house style on top, whatever the user has set."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def wrap_title(title: str) -> str:
    """Return the title of a panel, broken into lines."""
    return "\n".join(textwrap.wrap(title, TITLE))


def add_legend(figure: Figure, looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Add a legend of lines below a figure; `looks` maps names to properties of the line."""
    lines = [Line2D([], [], **look) for look in looks.values()]
    columns = legend_columns(looks)
    figure.legend(lines, list(looks), loc="outside lower center", ncols=columns)


def legend_columns(names: Iterable[str], handle: float = 0.7) -> int:
    """Return how many entries of a legend fit in a row: all, or as the longest name allows.

    `handle` is the width of a handle in inches.
    """
    inches = [0.11 * len(name) + handle for name in names]
    return max(1, len(inches) if sum(inches) <= WIDTH else int(WIDTH / max(inches)))
