"""Write `reports/README.md`: the baseline of every protocol, and every arm in each of them.

Protocols are sorted by the gap of their baselines: without a gap, a regularizer has nothing to
close.
"""

from collections.abc import Collection, Mapping
from math import inf, nan
from typing import Any

from pipeline.comparison.verdicts import Verdict
from pipeline.config.plan import BASELINE
from pipeline.records.reports import Row, WrittenReport
from pipeline.reporting.claims_index import CLAIMS_PAGE, Registered, claims_summary, judged_claims
from pipeline.reporting.markdown import (
    INTERVAL,
    VOID,
    Formatter,
    escape,
    folded,
    format_bullets,
    format_count,
    format_number,
    format_table,
    join_parts,
    section,
)

EFFECTS = "effects"  # the figure, without the ending of its files
COMMON = 3  # protocols that tried an arm which is compared over them
SHOWN = (Verdict.HELPS, Verdict.HURTS)  # verdicts in bold, unless below the margin
BASELINES = (
    "Means over the confirmation runs of the baseline of every protocol, the smallest gap first. "
    f"Runs: done of planned. {VOID}: unknown, because the report is of older code."
)
DIFFERENCES = (
    f"Arms that at least {COMMON} protocols tried. Verdict, and difference in test accuracy in "
    "points, arm minus reference, paired by seed. Bold: helps or hurts, and not shown to be below "
    "the margin. "
    "Protocols are ordered by the gap of the baseline, the smallest first. An arm may have "
    "different settings in different protocols. Intervals are in the reports. Verdicts of "
    f"reports of older code are left out. {VOID}: not tried."
)
RARE = (
    "Verdict, and difference in test accuracy in points, arm minus reference. Bold: helps or "
    "hurts, and not shown to be below the margin."
)
FIGURE = (
    f"Difference in test accuracy of every arm that at least {COMMON} protocols tried, against the "
    "gap of the baseline of the protocol"
)
DRAWN = (
    f"Arms that at least {COMMON} protocols tried: difference in test accuracy with its "
    f"{INTERVAL}, against the gap between train and validation accuracy of the baseline."
)
ONCE = "A claim counts once, however many reports test it."
FORMAT = Formatter()


def index_page(
    reports: Mapping[str, WrittenReport],
    partial: Mapping[str, WrittenReport],
    registered: Registered,
) -> str:
    """Return the page over all reports.

    Args:
        reports: The reports of protocols by name.
        partial: Those of some studies of a protocol alone.
        registered: All claims of the project.
    """
    names = by_gap(reports)
    claimed = claims_summary(judged_claims(reports, partial), registered)
    ordered = {name: reports[name] for name in names}
    baselines = [_baseline_cells(name, report) for name, report in ordered.items()]
    shared, rare = difference_rows(ordered), rare_rows(ordered)
    rest = format_table(rare, RARE, tuple(rare[0])) if rare else ""
    words = ("report", "dataset", "network")
    parts = [
        "# Reports",
        format_table(baselines, BASELINES, words) if baselines else "",
        format_table(shared, DIFFERENCES, tuple(shared[0])) if shared else "",
        folded(f"Arms that fewer than {COMMON} protocols tried", rest) if shared else rest,
        f"![{FIGURE}]({EFFECTS}.png)\n\n*{DRAWN}*" if common_arms(ordered) else "",
        f"[Claims of lectures and papers]({CLAIMS_PAGE}): {claimed} {ONCE}" if claimed else "",
        section("Reports of some studies alone", format_bullets(_partial_lines(partial))),
    ]
    return join_parts(*parts) + "\n"


def by_gap(reports: Mapping[str, WrittenReport]) -> list[str]:
    """Return the names of reports, sorted by the gap of the baseline; unknown gaps last."""
    return sorted(reports, key=lambda name: (baseline_gap(reports[name], unknown=inf), name))


def baseline_gap(report: WrittenReport, unknown: float = nan) -> float:
    """Return the gap of the baseline in points."""
    gap = report.metrics["baseline"]["gap"]
    return unknown if gap is None else float(gap)


def difference_rows(reports: Mapping[str, WrittenReport]) -> list[dict[str, str]]:
    """Return a row per arm that at least `COMMON` protocols tried, with a cell per protocol.

    What most protocols tried is first. Protocols without any such arm have no cells.
    """
    arms = common_arms(reports)
    columns = {name: _difference_cells(report, arms) for name, report in reports.items()}
    rows = []
    for arm in arms:
        cells = {name: column.get(arm, VOID) for name, column in columns.items() if column}
        rows.append({"arm": escape(arm), **cells})
    return rows


def _difference_cells(report: WrittenReport, arms: Collection[str]) -> dict[str, str]:
    """Return the cells of those of these arms that a report has."""
    rows = [row for row in report.contrasts if row["arm"] in arms]
    return {row["arm"]: _difference_cell(row) for row in rows}


def rare_rows(reports: Mapping[str, WrittenReport]) -> list[dict[str, str]]:
    """Return a row per report and arm that fewer than `COMMON` protocols tried."""
    tried = tried_arms(reports)
    return [
        {"report": name, "arm": escape(row["arm"]), "difference": _difference_cell(row)}
        for name, report in reports.items()
        for row in report.contrasts
        if tried[row["arm"]] < COMMON
    ]


def tried_arms(reports: Mapping[str, WrittenReport]) -> dict[str, int]:
    """Return the number of protocols that tried an arm, by its name, the largest first."""
    tried: dict[str, int] = {}
    for report in reports.values():
        for row in report.contrasts:
            tried[row["arm"]] = tried.get(row["arm"], 0) + 1
    return dict(sorted(tried.items(), key=lambda item: (-item[1], item[0])))


def common_arms(reports: Mapping[str, WrittenReport]) -> list[str]:
    """Return the arms that are compared over protocols, in the order of `tried_arms`."""
    return [arm for arm, number in tried_arms(reports).items() if number >= COMMON]


def _partial_lines(partial: Mapping[str, WrittenReport]) -> list[str]:
    """Return a line per report: its link, and the arms that help or hurt."""
    lines = []
    for name, report in partial.items():
        shown = [row for row in report.contrasts if row.get("verdict", "") in SHOWN]
        named = [f"{escape(row['arm'])} {_difference_cell(row)}" for row in shown]
        others = len(report.contrasts) - len(shown)
        rest = [format_count(others, "other arm")] if others else []
        lines.append(f"[{name}]({name}/report.md): {', '.join([*named, *rest])}")
    return lines


def _baseline_cells(name: str, report: WrittenReport) -> dict[str, str]:
    baseline, runs = report.metrics["baseline"], report.metrics["runs"]
    facts: Mapping[str, Any] = report.facts
    size = facts.get("train_size")
    return {
        "report": f"[{name}]({name}/report.md)",
        "dataset": facts.get("dataset", VOID),
        "network": facts.get("network", VOID),
        "training examples": VOID if size is None else f"{size:,}",
        f"{BASELINE}: test accuracy (%)": _percent(baseline["accuracy"]),
        "gap (points)": _percent(baseline["gap"]),
        "runs": f"{runs['done']} of {runs['planned']}",
    }


def _difference_cell(row: Row) -> str:
    """Return the verdict and the difference of an arm."""
    verdict = row.get("verdict", "")
    shown = f"**{verdict}**" if verdict in SHOWN and not row["below_margin"] else verdict
    return f"{shown} {FORMAT.points(row['difference'])}".strip()


def _percent(value: float | None) -> str:
    return format_number(nan if value is None else value, FORMAT.decimals)
