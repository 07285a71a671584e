"""Write the page of all settings tried: the response curves of a report, one panel per arm."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.labels import setting_cell
from pipeline.reporting.pages._page import Page

ORDER = 15
WORDS = ("study", "arm", "chosen")
TITLE = "Settings tried"


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page, if an arm had a choice of settings."""
    if len(data.searches):
        yield Page("settings", TITLE, settings_body(data))


def settings_body(data: ReportData) -> str:
    """Return the figure, and a line for each search."""
    image = (
        "![Difference in validation accuracy from the reference against setting, a panel per arm: "
        "seeds, means, response curves, and a star at the chosen setting](../figures/settings.png)"
    )
    caption = (
        "Difference: validation accuracy of a setting minus that of the reference, paired by "
        "exploration seed. The reference is the arm that this arm is compared with, at its chosen "
        "setting. For the tuning of the baseline, differences are from the chosen value, whose own "
        "difference is therefore 0. Settings, seeds: how many were tried. Widened: how many of the "
        "settings extend the range, because the best one was at the end of the range. Horizontal "
        "axes have the scale of the search space. Arms with the same settings and scores have one "
        "panel, named after the first. Dotted: smoothed accuracies, joined by lines; the setting "
        "with the highest one is chosen. Without a dotted line, it is the setting with the highest "
        "mean. An arrow at the lower edge marks a setting whose mean accuracy is far below that of "
        "the best settings of the arm. The number above the arrow is its difference; smoothing "
        "leaves this setting out. Because the settings were chosen on these seeds, the differences "
        "of the chosen ones tend to be too large. The results on fresh seeds are on the [front "
        "page](../report.md)."
    )
    return md.join_parts("# Settings tried", image, md.format_table(_rows(data), caption, WORDS))


def _rows(data: ReportData) -> list[dict[str, str]]:
    rows = []
    chosen = data.tried[data.tried["chosen"]]
    settings = {(row["study"], row["arm"]): row for row in rows_of(chosen)}
    for search in rows_of(data.searches):
        row = settings.get((search["study"], search["arm"]))
        rows.append(
            {
                "study": f"[{search['study']}](study_{search['study']}.md)",
                "arm": search["arm"],
                "chosen": setting_cell(row["setting"]) if row else md.VOID,
                "settings": _count(search),
                "seeds": str(int(search["seeds"])),
                "widened": str(int(search["widened"])),
                "difference (points)": data.format.points(row["change"]) if row else md.VOID,
            }
        )
    return rows


def _count(search: Mapping[str, Any]) -> str:
    """Return the number of settings a search has tried, and the number with whole schedules."""
    trials, whole = int(search["trials"]), int(search["whole_trials"])
    return str(trials) if whole == trials else f"{trials}, {whole} with whole schedules"
