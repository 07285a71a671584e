"""Compare the headline of a committed report with its tables, without predictions.

Of a report of the present code all numbers and verdicts of the answer and of the table of arms are
made again. A report of older code has fewer tables; missing tables are not compared.
"""

import math
import pkgutil
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.plan import BASELINE
from pipeline.config.registered_claims import read_claims
from pipeline.records.ledger import LEDGER, Planned, read_ledger
from pipeline.records.reports import (
    FRONT,
    Row,
    WrittenReport,
    partial_names,
    read_report,
    report_names,
)
from pipeline.runtime.errors import Refusal

NAMED = re.compile(r"\*\*([^*]+)\*\* \(([+-]?\d[^;)]* points(?: \[[^\]]*\])?)")
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
ROUNDED = 0.0051  # points: metrics.json has two decimals
PRECISION = 1e-8  # tolerance of a fraction: tables have ten digits
ALL_CONTRASTS = "contrasts.csv"  # contrasts of every metric
CURE = "run: gapwise restore, or make run"
INDEX_CURE = "run: gapwise restore, or gapwise report"
PAGES = {  # over all reports
    "README.md": "pipeline.reporting.index:index_page",
    "claims.md": "pipeline.reporting.claims_index:claims_page",
}
RECOMPUTED = "pipeline.comparison.written:written_contrasts"
FRONT_CHECK = "pipeline.reporting.written_front:front_differences"
SCORE, REFERENCE = "test_accuracy", "reference_test_accuracy"

Key = tuple[str, str]  # study, arm


def headline_differences(report: Path) -> list[str]:
    """Return a line for each number of a headline that differs from the report's tables.

    Scores of every seed give the differences of arms, p-values and lost runs the verdicts; these
    give `metrics.json`, the answer of the front page and its table. The chain of the ledger is
    checked too, if there is one.

    Args:
        report: The folder of the report.
    """
    try:
        openings = read_ledger(report / LEDGER)
        written = read_report(report)
        front = (report / FRONT).read_text(encoding="utf-8")
        differences = list(
            _all_differences(report, written, front, openings[-1] if openings else {})
        )
    except Refusal as refusal:
        return list(refusal.lines)
    except OSError:
        return [f"{report / FRONT}: missing; run: gapwise restore"]
    return [f"{report / place}: {words}; {CURE}" for place, words in differences]


def index_differences(reports: Path) -> list[str]:
    """Return a line for each page over all reports that differs from their tables and studies.

    Args:
        reports: The folder of all reports.
    """
    try:
        whole = {name: read_report(reports / name) for name in report_names(reports)}
        partial = {name: read_report(reports / name) for name in partial_names(reports)}
        registered = read_claims(reports.parent)
    except Refusal as refusal:
        return list(refusal.lines)
    lines = []
    for name, page in PAGES.items():
        path = reports / name
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if text != pkgutil.resolve_name(page)(whole, partial, registered):
            lines.append(
                f"{path}: differs from what the tables of the reports and the studies give; "
                f"{INDEX_CURE}"
            )
    return lines


def _all_differences(
    report: Path, written: WrittenReport, front: str, plan: Planned
) -> Iterator[tuple[str, str]]:
    """Yield the file and the text of each difference.

    Args:
        report: The folder of the report.
        written: The content of the report.
        front: The text of the front page.
        plan: The plan in the last entry of the ledger, empty without a ledger.

    Raises:
        Refusal: A table is corrupted.
    """
    arms = {str(row["arm"]): row for row in written.contrasts}
    yield from _of_numbers(written, arms)
    if not (report / ALL_CONTRASTS).is_file():
        yield from _of_older_front(arms, front.splitlines())
        return
    try:
        contrasts = pkgutil.resolve_name(RECOMPUTED)(report / ALL_CONTRASTS, written)
        epochs = plan["settings"]["training"]["epochs"] if plan else None
        yield from ((ALL_CONTRASTS, words) for words in contrasts.contradictions())
        front_words = pkgutil.resolve_name(FRONT_CHECK)(front, contrasts, epochs)
        yield from ((FRONT, words) for words in front_words)
        yield from _of_plan(written, plan) if plan else ()
    except (ValueError, KeyError, TypeError):
        raise Refusal(f"{report / ALL_CONTRASTS}: corrupted; run: gapwise restore") from None


def _of_plan(written: WrittenReport, plan: Planned) -> Iterator[tuple[str, str]]:
    """Yield the differences from the last entry of the ledger: arms, seeds, settings, margin.

    Studies whose arms are not compared one by one have no seeds in the report.
    """
    yield from _of_planned_arms(written, plan)
    looks = plan.get("looks") or {}
    facts = {
        "margin": plan["margin"],
        "dataset": plan["settings"]["data"]["dataset"],
        "train_size": plan["settings"]["data"]["train_size"],
    }
    if looks:
        facts["looks"] = {name: looks[name] for name in ("seeds", "weights")}
    for name, value in facts.items():
        shown = written.facts.get(name)
        if shown != value:
            yield "protocol.json", f"{name}: {shown}, but {value} in {LEDGER}"


def _of_planned_arms(written: WrittenReport, plan: Planned) -> Iterator[tuple[str, str]]:
    """Yield the arms, and their properties, in which the table of seeds differs from the plan."""
    rows: dict[Key, list[Row]] = {}
    for row in written.seeds:
        rows.setdefault((str(row["study"]), str(row["arm"])), []).append(row)
    planned = _planned_arms(plan, {study for study, _ in rows})
    for study, name in sorted(planned.keys() ^ rows.keys()):
        yield "seeds.csv", f"{name} of {study}: not among the arms of both it and {LEDGER}"
    for study, name in sorted(planned.keys() & rows.keys()):
        for what in _unplanned(rows[study, name], planned[study, name]):
            yield "seeds.csv", f"{name} of {study}: {what}: not what {LEDGER} has"


def _planned_arms(plan: Planned, studies: Collection[str]) -> dict[Key, Mapping[str, Any]]:
    """Return the planned arms of these studies that are compared and have seeds."""
    return {
        (study, name): arm
        for study in studies
        for name, arm in plan["arms"].get(study, {}).items()
        if name != BASELINE and arm["seeds"]
    }


def _unplanned(rows: Sequence[Row], arm: Mapping[str, Any]) -> Iterator[str]:
    """Yield the properties of an arm in which the rows of its seeds differ from the plan."""
    if sorted(row["seed"] for row in rows) != arm["seeds"]:
        yield "seeds"
    if {row["reference"] for row in rows} != {arm["against"]}:
        yield "reference"
    if rows[0]["setting"] != arm["setting"]:
        yield "setting"


def _of_numbers(written: WrittenReport, arms: Mapping[str, Row]) -> Iterator[tuple[str, str]]:
    for name, row in arms.items():
        by_seeds = _of_seeds(written.seeds, row)
        if by_seeds is not None and abs(by_seeds - row["difference"]) > PRECISION:
            yield (
                "seeds.csv",
                f"{name}: {by_seeds:.6f} by its seeds, {row['difference']:.6f} in plots",
            )
    points = written.metrics.get("points", {})
    if points.keys() != arms.keys():
        yield "metrics.json", "points: not the arms of plots/contrasts.csv"
    for name in points.keys() & arms.keys():
        if not _agree(points[name], arms[name], ROUNDED):
            yield "metrics.json", f"points.{name}: {points[name]}, not that of plots/contrasts.csv"


def _of_older_front(arms: Mapping[str, Row], front: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the contradictions in the first sentences and the table of a report of older code."""
    answer = next((line for line in front[1:] if line), "")
    for name, shown in NAMED.findall(answer):
        if name in arms and not _all_agree(shown, arms[name]):
            yield FRONT, f"the answer has {shown} of {name}, not plots/contrasts.csv"
    for name, cells in _table(front).items():
        if name not in arms:
            continue
        if not _all_agree(cells["difference"], arms[name]):
            yield FRONT, f"the table has {cells['difference']} of {name}, not plots/contrasts.csv"
        verdict = arms[name].get("verdict")
        if verdict and not cells["verdict"].startswith(str(verdict)):
            yield FRONT, f"the table has {cells['verdict']} of {name}, not plots/contrasts.csv"


def _of_seeds(seeds: Sequence[Row], row: Row) -> float | None:
    """Return the mean difference of an arm over its paired seeds; None if none are listed."""
    name = str(row["arm"]).split(" of ")[0].split(" (")[0]
    pairs = [
        seed[SCORE] - seed[REFERENCE]
        for seed in seeds
        if (seed["study"], seed["arm"]) == (row["study"], name) and seed["paired"]
    ]
    return math.fsum(pairs) / len(pairs) if pairs else None


def _agree(points: float | None, row: Row, tolerance: float) -> bool:
    """Return whether points are the difference of a row, to the precision of their decimals."""
    if points is None:
        return math.isnan(row["difference"])
    return bool(abs(points - 100 * row["difference"]) <= tolerance)


def _all_agree(shown: str, row: Row) -> bool:
    """Return whether the numbers in a text are the difference of a row and its interval."""
    numbers = NUMBER.findall(shown.replace("\u2011", "-"))
    expected = [100 * row[name] for name in ("difference", "low", "high")]
    return len(numbers) in (0, 1, 3) and all(
        abs(float(number) - value) <= _half(number)
        for number, value in zip(numbers, expected, strict=False)
    )


def _half(number: str) -> float:
    """Return half of the last decimal of a number, plus a margin for rounding in between."""
    return 0.51 * 10.0 ** -len(number.partition(".")[2])


def _table(front: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the verdict and the difference of each arm in the first table of a front page."""
    lines = [_cells(line) for line in front if line.startswith("| ")]
    header, *rest = lines or [[]]
    columns = {
        key: [place for place, cell in enumerate(header) if cell.startswith(key)]
        for key in ("arm", "verdict", "difference")
    }
    if not all(columns.values()):
        return {}
    arm, verdict, difference = (places[0] for places in columns.values())
    intervals = [place for place, cell in enumerate(header) if cell.endswith("% interval")]
    rows: dict[str, dict[str, Any]] = {}
    for cells in rest[1:]:  # after the rule
        if len(cells) != len(header):
            break  # another table
        name = cells[arm].partition(": ")[0]
        numbers = [cells[place] for place in (difference, *intervals)]
        rows[name] = {"verdict": cells[verdict], "difference": "".join(numbers)}
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
