"""Write the differences between two reports as a Markdown table for a pull request."""

from collections.abc import Mapping
from math import nan
from typing import Any

from pipeline.records.reports import WrittenReport
from pipeline.reporting import markdown as md
from pipeline.reporting.labels import verdict_cell

ARROW = " → "
UNKNOWN = "?"  # in a report of older code
FORMAT = md.Formatter()
COLUMNS = ("verdict", "difference", "change of gap", "setting", "n")
BOUNDS = {"difference": "", "low": "_low", "high": "_high"}  # endings of columns of the gap
CAPTION = (
    f"Before{ARROW}after. Differences in test accuracy and changes of the gap, in points, each "
    f"with its {md.INTERVAL}. {UNKNOWN}: unknown, because the report is of older code."
)


def changes_section(title: str, before: WrittenReport, after: WrittenReport) -> str:
    """Return a section with a row for every arm that changed; a line if nothing did."""
    rows = change_rows(before, after)
    notes = [_baseline(before, after), _checks(before, after), _runs(before, after)]
    parts = [
        md.format_table(rows, CAPTION, words=("arm", *COLUMNS)) if rows else "",
        "" if rows else _unchanged(after),
        md.format_bullets([note for note in notes if note]),
    ]
    return md.section(title, md.join_parts(*parts), level=3)


def change_rows(before: WrittenReport, after: WrittenReport) -> list[dict[str, str]]:
    """Return the arms with a changed cell; arms of the later report come first.

    Values that a report of older code does not have are unknown, which is no change.
    """
    earlier, later = (_cells_by_arm(report) for report in (before, after))
    rows = []
    for arm in [*later, *(arm for arm in earlier if arm not in later)]:
        cells = {name: _pair(name, earlier.get(arm), later.get(arm)) for name in COLUMNS}
        if any(one != other and UNKNOWN not in (one, other) for one, other in cells.values()):
            changed = {name: _arrow(*pair) for name, pair in cells.items()}
            rows.append({"arm": md.escape(arm)} | changed)
    return rows


def _cells_by_arm(report: WrittenReport) -> dict[str, dict[str, str]]:
    return {row["arm"]: _cells(row) for row in report.contrasts}


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the compared cells of an arm; a report of older code has no verdict and no gap."""
    cells = {
        "difference": FORMAT.change(row, unit=""),
        "setting": md.escape(row["strength"]) or md.VOID,
        "n": f"{row['n']:g}",
    }
    if "verdict" in row:
        gap = {name: row[f"gap_change{end}"] for name, end in BOUNDS.items()}
        cells |= {"verdict": verdict_cell(row), "change of gap": FORMAT.change(gap, unit="")}
    return cells


def _pair(
    name: str, before: Mapping[str, str] | None, after: Mapping[str, str] | None
) -> tuple[str, str]:
    """Return a cell before and after; cells of a missing arm are empty."""
    one, other = ({name: md.VOID} if cells is None else cells for cells in (before, after))
    return one.get(name, UNKNOWN), other.get(name, UNKNOWN)


def _arrow(before: str, after: str) -> str:
    """Return a value before and after, once if it is the same."""
    return after if before == after else f"{before}{ARROW}{after}"


def _unchanged(report: WrittenReport) -> str:
    arms = md.format_count(len(report.contrasts), "arm")
    return f"No verdict, difference or setting changed ({arms})."


def _baseline(before: WrittenReport, after: WrittenReport) -> str:
    """Return the baseline's accuracy and gap if they changed as shown."""
    accuracy, gap = (
        [_percent(report.metrics["baseline"].get(name)) for report in (before, after)]
        for name in ("accuracy", "gap")
    )
    if accuracy[0] == accuracy[1] and gap[0] == gap[1]:
        return ""
    return f"Baseline: test accuracy {_arrow(*accuracy)} %, gap {_arrow(*gap)} points."


def _percent(value: float | None) -> str:
    return md.format_number(nan if value is None else value, FORMAT.decimals)


def _checks(before: WrittenReport, after: WrittenReport) -> str:
    """Return the number of failed trust checks if it changed."""
    failed = [str(report.metrics.get("failed_checks", md.VOID)) for report in (before, after)]
    return f"Failed trust checks: {_arrow(*failed)}." if failed[0] != failed[1] else ""


def _runs(before: WrittenReport, after: WrittenReport) -> str:
    """Return the number of compared runs that differ; "" if there are none or none are known."""
    earlier, later = (_fingerprints(report) for report in (before, after))
    new = later - earlier
    if not (earlier and new):
        return ""
    return f"{len(new)} of {md.format_count(len(later), 'compared run')} are new."


def _fingerprints(report: WrittenReport) -> set[str]:
    columns = ("fingerprint", "reference_fingerprint")
    return {row[name] for row in report.seeds for name in columns} - {""}
