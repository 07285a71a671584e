"""How every figure looks: its width, type, colours and markers, and its bytes.

Separate from what the figures show, so that one arm has one colour everywhere and no user's settings change a picture.
"""

import io
import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import matplotlib
import seaborn as sns
from matplotlib.figure import Figure

from pipeline.config.plan import BASELINE

matplotlib.use("Agg")

WIDTH = 7.0  # inches
DPI = 150
DARK = "#333333"
PALETTE = (  # safe for the colour-blind, neighbours of different lightness
    *("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"),
    *("#56b4e9", "#ca9161", "#fbafe4", "#b8a800"),
    *("#7b3294", "#00b3b3", "#a50026", "#8c6bb1", "#1b5e20", "#9e9e9e"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h")
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


def colours(arms: Iterable[str]) -> dict[str, str]:
    """A colour for every arm name: the baseline dark grey, the others by their place among all arms of the report."""
    others = [arm for arm in dict.fromkeys(arms) if arm != BASELINE]
    return {BASELINE: DARK, **dict(zip(others, itertools.cycle(PALETTE), strict=False))}


def png(figure: Figure) -> bytes:
    """The figure as PNG without date or version: the same bytes for the same figure."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


@contextmanager
def style() -> Iterator[None]:
    """The library's defaults and the house style on top, whatever the user's own settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def columns(names: Iterable[str], handle: float = 0.7) -> int:
    """How many legend entries (a handle so many inches wide, and a name) fit side by side: all, or as the longest allows."""
    inches = [0.11 * len(name) + handle for name in names]
    return max(1, len(inches) if sum(inches) <= WIDTH else int(WIDTH / max(inches)))
