"""Draw test accuracy against the number of training images: scratch, probe and fine-tuning."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

from pipeline.comparison.transfer import FINE_TUNING, PROBE, SCRATCH
from pipeline.records.tables import rows_of
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.pages._transfer import FIGURE, MODES, series, size_name, size_of
from pipeline.reporting.plots._names import FRONT, LINE_HEIGHT, write_ends
from pipeline.reporting.style import BAND, DARK, DASHES, FAMILIES, GREY, WIDTH, style

COLUMNS = ("size", "mean", "low", "high")
COLORS = {SCRATCH: DARK, PROBE: FAMILIES["noise"], FINE_TUNING: FAMILIES["examples"]}
MARKERS = {SCRATCH: "o", PROBE: "s", FINE_TUNING: "^"}
LINES = ("-", DASHES, ":", "-.")  # of pretrainings


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the figure, if arms have been tried at several sizes."""
    lines = series(data)
    if lines:
        frames = {key: _frame(rows) for key, rows in lines.items()}
        yield FIGURE, transfer_sizes(frames, data.crossovers, size_name(data))


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the points of a line, in fractions, with columns `COLUMNS`."""
    points = [
        (size_of(row), row["accuracy"], row["accuracy_low"], row["accuracy_high"]) for row in rows
    ]
    return pd.DataFrame(points, columns=list(COLUMNS))


def transfer_sizes(
    lines: Mapping[tuple[str, str], pd.DataFrame], crossovers: pd.DataFrame, size: str
) -> Figure:
    """Return a figure with a line for every pretraining and trained part.

    Args:
        lines: Points in fractions, with columns `COLUMNS`, ascending by size.
        crossovers: The table of that name; those within the sizes are marked.
        size: What sizes are numbers of.
    """
    sources = list(dict.fromkeys(source for source, _ in lines if source))
    dashes = dict(zip(sources, itertools.cycle(LINES), strict=False))
    names = {key: _name(key, len(sources)) for key in lines}
    sizes = sorted({each for points in lines.values() for each in points["size"]})
    with style():
        figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
        ax = figure.subplots()
        for (source, train), points in lines.items():
            look = {"color": COLORS[train], "marker": MARKERS[train]}
            draw_line(ax, points, linestyle=dashes.get(source, "-"), **look)
        ax.set(xscale="log", xlabel=f"{size} (logarithmic)", ylabel="test accuracy (%)")
        ax.xaxis.set_major_locator(FixedLocator(sizes))
        ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.xaxis.set_minor_locator(NullLocator())
        crossed = [row for row in rows_of(crossovers) if sizes[0] <= row["size"] <= sizes[-1]]
        for place, row in enumerate(crossed):
            draw_crossover(ax, row, dashes.get(row["pretraining"], ":"), len(sources) > 1, place)
        ends = {names[key]: 100 * float(points["mean"].iloc[-1]) for key, points in lines.items()}
        write_ends(figure, ax, ends, {names[key]: COLORS[key[1]] for key in lines})
    return figure


def draw_line(ax: Axes, points: pd.DataFrame, **look: Any) -> None:
    """Draw the accuracies of one line with their band."""
    low, high = 100 * points["low"], 100 * points["high"]
    ax.fill_between(points["size"], low, high, color=look["color"], alpha=BAND / 2, linewidth=0)
    ax.plot(points["size"], 100 * points["mean"], **look)


def draw_crossover(
    ax: Axes, row: Mapping[str, Any], linestyle: Any, is_named: bool = False, place: int = 0
) -> None:
    """Mark where fine-tuning overtakes the probe, with the part of the interval on the axis.

    Args:
        ax: The panel, with its final limits.
        row: A row of the table `crossovers`.
        linestyle: That of the pretraining.
        is_named: Whether the text names the pretraining.
        place: The number of the mark: each has its text above that of the one before.
    """
    left, right = ax.get_xlim()
    low, high = max(row["low"], left), min(row["high"], right)
    ax.axvspan(low, high, color=GREY, alpha=BAND / 2, linewidth=0, zorder=0)
    ax.axvline(row["size"], color=GREY, linestyle=linestyle, linewidth=1.2, zorder=0)
    ax.set_xlim(left, right)
    is_left = row["size"] ** 2 < left * right  # of the middle of a logarithmic axis
    source = f" ({row['pretraining']})" if is_named else ""
    text = f"fine-tuning overtakes\nthe probe{source}: {row['size']:.2g}"
    offset = (5 if is_left else -5, 5 + 2.5 * LINE_HEIGHT * place)
    ax.annotate(
        text,
        (row["size"], 0),
        offset,
        xycoords=ax.get_xaxis_transform(),
        textcoords="offset points",
        ha="left" if is_left else "right",
        va="bottom",
        color=DARK,
        **FRONT,
    )


def _name(key: tuple[str, str], sources: int) -> str:
    """Return the name of a line, with the pretraining where there are several."""
    source, train = key
    return f"{MODES[train]}, {source}" if source and sources > 1 else MODES[train]
