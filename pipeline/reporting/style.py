"""Set the look of every figure: width, type, colors and markers, and its bytes.

One column 7 inches wide: shown about 830 pixels wide, its type is as large as the text. Colors are
always accompanied by a marker, a line or a word.
"""

import io
import itertools
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

from pipeline.config.families import Family
from pipeline.config.plan import BASELINE
from pipeline.reporting.evidence import METHODS, ReportData
from pipeline.reporting.families import MOST_SHADES, colored_families
from pipeline.reporting.svg_text import shortened

WIDTH = 7.0  # inches
DPI = 120
TYPE = 10  # points
TITLE = 60  # letters of a panel's title on a line
COLORS = 64  # of a PNG: a third of the bytes, hardly a difference that is seen
EXACT = 32  # of these, for areas: an area of another shade is seen sooner than a line
CODE = np.array([1 << 16, 1 << 8, 1])  # makes a number of red, green and blue
SALT = "gapwise"  # of the names inside an SVG, which are random otherwise
METADATA = ("Date", "Creator", "Format", "Type")  # which an SVG has otherwise
DARK, GREY = "#333333", "#888888"
DASHES = (0, (4, 1.5))
BAND = 0.22  # opacity
FAMILIES: dict[Family, str] = {  # at least 3:1 against white, and each of another grey
    "noise": "#0572b0",
    "examples": "#f06c06",
    "penalty": "#5f2d98",
    "architecture": "#0d9686",
    "training": "#997303",
    "data size": "#545454",
    "combination": "#bd0957",
    "other": "#2d4049",
    "transfer": "#0a3a1a",
}
SHAPES: dict[Family, str] = {
    "noise": "s",
    "examples": "^",
    "penalty": "D",
    "architecture": "v",
    "training": "P",
    "data size": "X",
    "combination": "p",
    "other": "h",
    "transfer": "d",
}
FIRST = tuple(FAMILIES.values())[:8]  # of arms with a color of their own
PALETTE = (*FIRST, "#1b5e20", "#a50026", "#3b4cc0", "#8c510a", "#4d004b")
SHADES = (1.0, 0.65, 0.4)[:MOST_SHADES]  # of the color of a family, for its arms in one study
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h")
STAR: dict[str, Any] = {"marker": "*", "markersize": 13, "markeredgecolor": "black"}
STYLE = {
    **sns.axes_style("whitegrid"),
    "font.family": ["DejaVu Sans"],
    "font.size": TYPE,
    "axes.titlesize": TYPE + 1,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": TYPE,
    "xtick.labelsize": TYPE,
    "ytick.labelsize": TYPE,
    "legend.fontsize": TYPE,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
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
    """Return the color of every arm, the same in all figures of a report.

    It is the color of the family of the arm, the same in every report. Further arms of a family in
    one study are darker. Where a study has more arms of one family than there are shades, or all
    arms are of one family, each arm has a color of its own.
    """
    arms = [(study, arm) for study, arm in data.planned_arms if arm.name != BASELINE]
    if not colored_families(data):
        return _study_colors([(study, arm.name) for study, arm in arms])
    counts: Counter[tuple[str, Family]] = Counter()
    palette = {BASELINE: DARK}
    for study, arm in arms:
        shade = SHADES[min(counts[study, arm.family], len(SHADES) - 1)]
        counts[study, arm.family] += 1
        palette.setdefault(arm.name, _darker(FAMILIES[arm.family], shade))
    return palette


def _study_colors(arms: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return a color for every arm; arms of a study have different colors while these suffice."""
    palette = {BASELINE: DARK}
    for study, name in arms:
        near = [palette.get(arm) for other, arm in arms if other == study]
        rest = [color for color in PALETTE if color not in near] or list(PALETTE)
        palette.setdefault(name, min(rest, key=list(palette.values()).count))
    return palette


@dataclass(frozen=True)
class Look:
    """The look of the points of an arm, and its meaning in a legend."""

    color: str
    marker: str
    meaning: str


def arm_looks(data: ReportData) -> dict[str, Look]:
    """Return color and marker of every arm, of its family or its own; see `arm_colors`.

    Markers of families distinguish them without colors too.
    """
    palette = arm_colors(data)
    arms = [(arm.name, arm.family) for _, arm in data.planned_arms if arm.name != BASELINE]
    by_family = is_colored_by_family(arms, palette)
    looks = {BASELINE: Look(DARK, MARKERS[0], BASELINE)}
    for (name, family), marker in zip(arms, itertools.cycle(MARKERS[1:]), strict=False):
        look = Look(FAMILIES[family], SHAPES[family], family)
        looks.setdefault(name, look if by_family else Look(palette[name], marker, name))
    return looks


def look_handles(looks: Iterable[Look]) -> list[Line2D]:
    """Return the entries of a legend of points, each meaning once."""
    distinct = {look.meaning: look for look in looks}
    return [
        Line2D([], [], linestyle="", marker=look.marker, color=look.color, label=meaning)
        for meaning, look in distinct.items()
    ]


def is_colored_by_family(arms: Iterable[tuple[str, Family]], palette: Mapping[str, str]) -> bool:
    """Return whether every arm has a shade of the color of its family."""
    return all(
        palette[arm] in {_darker(FAMILIES[family], shade) for shade in SHADES}
        for arm, family in arms
    )


def _darker(color: str, share: float) -> str:
    """Return a color mixed with black, of which 1 - `share` is black."""
    channels = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(share * channel):02x}" for channel in channels)


def method_colors(single: str, others: Iterable[str]) -> dict[str, str]:
    """Return the color of every way to predict: dark grey for the single model."""
    return colors([*METHODS[1:], *others]) | {single: DARK}


def png(figure: Figure) -> bytes:
    """Return a figure as PNG of `COLORS` colors, without date or version.

    The bytes are the same for the same figure.
    """
    drawn, stored = io.BytesIO(), io.BytesIO()
    with style():
        figure.savefig(drawn, format="rgba", dpi=DPI)
    width = int(figure.get_figwidth() * DPI)
    pixels = np.frombuffer(drawn.getvalue(), np.uint8).reshape(-1, width, 4)
    few = _of_few_colors(pixels[..., :3])
    few.save(stored, "png", optimize=True, dpi=(DPI, DPI))
    return stored.getvalue()


def _of_few_colors(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return an image of `COLORS` colors: the most frequent ones as they are, others near.

    Args:
        pixels: Its red, green and blue (height, width, 3).
    """
    image = Image.fromarray(pixels)
    counted: Any = image.getcolors(image.width * image.height)
    exact = [color for _, color in sorted(counted, reverse=True)[:EXACT]]
    others = COLORS - len(exact)
    near = image.quantize(others, method=Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*itertools.chain(*exact), *near[: 3 * others]])
    places = np.array(image.quantize(palette=palette, dither=Image.Dither.NONE))
    codes = pixels @ CODE  # Pillow takes a color near the nearest one
    for place, color in enumerate(exact):
        places[codes == np.array(color) @ CODE] = place
    few = Image.fromarray(places, "P")
    few.putpalette(palette.getpalette() or [])
    return few


def svg(figure: Figure) -> bytes:
    """Return a figure as SVG without date or version: the same bytes for the same figure."""
    drawn = io.StringIO()
    with style(), matplotlib.rc_context({"svg.hashsalt": SALT, "svg.fonttype": "none"}):
        figure.savefig(drawn, format="svg", metadata=dict.fromkeys(METADATA))
    return shortened(drawn.getvalue()).encode()


@contextmanager
def style() -> Iterator[None]:
    """Apply matplotlib's defaults and the house style on top, not the user's settings.

    A character that the font lacks is a box in the PNG, and itself in the SVG; no warning is shown.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
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


def legend_columns(names: Iterable[str], handle: float = 0.6) -> int:
    """Return the number of legend entries that fit in a row: all, or as the longest name allows.

    `handle` is the width of a handle in inches.
    """
    inches = [0.08 * len(name) + handle for name in names]
    return max(1, len(inches) if sum(inches) <= WIDTH else int(WIDTH / max(inches)))
