"""Draw all searches of a report in one figure."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from pipeline.config.plan import BASELINE
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.plots.strengths import searches, strengths
from pipeline.reporting.style import arm_colors


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
        yield "settings", strengths(found, palette)
