"""Draw the claims that are judged in points, one line each with its interval and outcome."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from pipeline.comparison.verdicts import Outcome
from pipeline.reporting.claim_cells import drawn_claims
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.markdown import INTERVAL
from pipeline.reporting.style import DARK, FAMILIES, TYPE, WIDTH, style

ROW, FRAME = 0.24, 0.6  # inches of height: of a line, and of the axis below all lines
NAMES, WORDS = 3.1, 1.5  # inches of width for the names, and for the outcomes
LETTERS = 36  # of a name of the usual size; a longer one is smaller
SMALLEST = 7  # points of type; what is longer still is cut
FARTHER = 2  # times the reach of most intervals that the axis goes
LOOKS = {  # outcome: marker, color, and whether it is filled
    Outcome.SUPPORTED: ("o", FAMILIES["architecture"], True),
    Outcome.CONTRADICTED: ("X", FAMILIES["combination"], True),
    Outcome.INCONCLUSIVE: ("o", FAMILIES["data size"], False),
}
SIGNS = {"lower": "< 0", "higher": "> 0", "equal": "= 0", "not_lower": "≥ 0", "not_higher": "≤ 0"}


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the figure, if a claim is judged in points."""
    rows = drawn_claims(data.claims)
    if len(rows):
        yield "claims", claims(rows)


def claims(rows: pd.DataFrame) -> Figure:
    """Return a figure with a line for every claim, the first on top.

    Args:
        rows: Columns claim, expect, difference, low and high (fractions), and outcome.
    """
    height = ROW * len(rows) + FRAME
    with style():
        figure = Figure(figsize=(WIDTH, height))
        bottom, top = FRAME / height, 1 - 0.08 / height
        width = WIDTH - NAMES - WORDS
        ax = figure.add_axes((NAMES / WIDTH, bottom, width / WIDTH, top - bottom))
        draw_claims(ax, rows)
    return figure


def draw_claims(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw names, intervals and outcomes of claims into `ax`; see `claims`."""
    points = 100 * rows[["difference", "low", "high"]].to_numpy(float)
    reach = FARTHER * float(np.quantile(np.abs(points).max(axis=1), 0.75)) or 1.0
    beside = blended_transform_factory(ax.transAxes, ax.transData)
    for height, (row, ends) in enumerate(zip(rows.to_dict("records"), points, strict=True)):
        marker, color, filled = LOOKS[Outcome(row["outcome"])]
        middle, *bounds = np.clip(ends, -reach, reach)
        look: dict[str, Any] = {"edgecolor": color, "linewidth": 1.6, "zorder": 3}
        face = color if filled else "white"
        if abs(ends[0]) <= reach:
            ax.plot(bounds, [height, height], color=color, linewidth=1.5, zorder=2)
            ax.scatter([middle], [height], s=45, marker=marker, facecolor=face, **look)
        else:
            beyond = f"{ends[0]:+.1f} →" if ends[0] > 0 else f"← {ends[0]:+.1f}"
            side: Any = "right" if ends[0] > 0 else "left"
            ax.text(middle, height, beyond, ha=side, va="center", color=color)
        expected = f"{SIGNS[row['expect']]}: {row['outcome']}"
        ax.text(1.03, height, expected, transform=beside, va="center", color=DARK)
    ax.axvline(0, color=DARK, linewidth=1.2, zorder=1)
    ax.set_yticks(range(len(rows)), [shorten(name) for name in rows["claim"]])
    for label in ax.get_yticklabels():
        label.set_fontsize(size_of(label.get_text()))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(-1.08 * reach, 1.08 * reach)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(f"points, with {INTERVAL}; right: expected, outcome")
    ax.grid(visible=False)


def size_of(name: str) -> float:
    """Return the size of a name in points of type, at which it fits on its line."""
    return min(TYPE, TYPE * LETTERS / len(name))


def shorten(name: str) -> str:
    """Return a name, cut where it is longer than a line allows."""
    longest = TYPE * LETTERS // SMALLEST
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
