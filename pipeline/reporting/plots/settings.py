"""Draw all searches of a report in one figure."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from pipeline.config.plan import BASELINE
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.plots._strengths import Search, searches, strengths
from pipeline.reporting.style import arm_colors


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the figure, if an arm had a choice of settings.

    Arms whose settings and scores are the same have one panel, under the name of the first.
    """
    panels: dict[str, Search] = {}
    palette = {}
    for study in dict.fromkeys(data.tried["study"]):
        for arm, search in searches(data, study).items():
            if any(search.shows_the_same(other) for other in panels.values()):
                continue
            title = "tuning the baseline" if arm == BASELINE else data.label(study, arm)
            panels[title] = search
            palette[title] = arm_colors(data)[arm]
    if panels:
        yield "settings", strengths(panels, palette)
