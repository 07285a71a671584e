"""Draw all searches of a report on one page: differences to the reference, a panel per arm."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.config.plan import BASELINE
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.plots.strengths import (
    MARGIN,
    NAME,
    REFERENCE,
    Search,
    draw_settings,
    legend,
    searches,
)
from pipeline.reporting.style import WIDTH, arm_colors, style

COLUMNS = 2
LETTERS = 33  # of the size of a tick, across a panel


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the figure, if an arm had a choice of settings."""
    found = {}
    palette = {}
    for study in dict.fromkeys(data.tried["study"]):
        for arm, search in searches(data, study).items():
            title = "tuning the baseline" if arm == BASELINE else data.label(study, arm)
            found[title] = search
            palette[title] = arm_colors(data)[arm]
    if found:
        yield "settings", settings(found, palette)


def settings(found: Mapping[str, Search], palette: Mapping[str, str]) -> Figure:
    """Return a figure with a panel for each search, all with the same axis of differences."""
    lines = -(-len(found) // COLUMNS)
    with style():
        figure = Figure(figsize=(WIDTH, 2.5 * lines + 0.8), layout="constrained")
        panels = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
        for ax, (title, search) in zip(panels, found.items(), strict=False):
            draw_changes(ax, search, palette[title])
            ax.set_title("\n".join(textwrap.wrap(title, LETTERS)), fontsize=12)
            ax.tick_params(labelsize=11)
            ax.xaxis.label.set_size(11)
        for ax in panels[len(found) :]:
            ax.set_axis_off()
        _share(list(panels[: len(found)]))
        marks = legend(list(found.values()))
        figure.legend(list(marks.values()), list(marks), loc="outside lower center", ncols=3)
        figure.supylabel("difference in validation accuracy (points)", fontsize=12)
    return figure


def draw_changes(ax: Axes, search: Search, color: str) -> None:
    """Draw the paired differences of the settings of one arm to its reference."""
    rows = search.rows
    fitted = rows["fitted"] - rows[NAME] + rows["change"]
    ax.axhline(0, zorder=1, **REFERENCE)
    draw_settings(ax, search, rows["changes"], rows["change"], fitted, color, [0.0], LETTERS)


def _share(panels: Sequence[Axes]) -> None:
    """Give all panels the limits of the widest ones."""
    limits = [ax.get_ylim() for ax in panels]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    for ax in panels:
        ax.set_ylim(low - MARGIN, high + MARGIN)
