"""Read the numbers, tables and facts of a committed report."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.records.rows import parse_rows
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import remedy_of

FRONT = "report.md"
METRICS, FACTS = "metrics.json", "protocol.json"
CONTRASTS, SEEDS, CLAIMS = "plots/contrasts.csv", "seeds.csv", "claims.csv"
NEEDED = (METRICS, CONTRASTS)
OPTIONAL = (FACTS, SEEDS, CLAIMS)  # which reports of older code do not have
FILES = (*NEEDED, *OPTIONAL)
KEYS = {  # of every report, also of older code
    METRICS: {"baseline", "runs"},
    CLAIMS: {"claim", "outcome", "alternative"},
    CONTRASTS: {"study", "arm", "strength", "n", "difference", "low", "high"},
}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class WrittenReport:
    """A report as it was written.

    Attributes:
        metrics: The baseline's accuracy and gap (percent), the numbers of runs.
        facts: Dataset, network and training-set size; empty in a report of older code.
        contrasts: A row for each arm; without verdicts in a report of older code.
        seeds: A row for each arm and seed; none in a report of older code.
        claims: A row for each claim; none in a report of older code.
    """

    metrics: Mapping[str, Any]
    facts: Mapping[str, Any]
    contrasts: tuple[Row, ...]
    seeds: tuple[Row, ...]
    claims: tuple[Row, ...] = ()


def read_report(folder: Path) -> WrittenReport:
    """Return the report in a folder.

    Args:
        folder: The folder of the report.

    Raises:
        Refusal: There is none, or a file of it is corrupted.
    """
    paths = {name: folder / name for name in FILES}
    texts = {name: _text(path) for name, path in paths.items() if path.is_file()}
    return parse_report(texts, str(folder))


def report_files(folder: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return the pages of a report and its figures, by their path in its folder.

    The front page, `report.md`, is the first.

    Args:
        folder: The folder of the report.

    Raises:
        Refusal: There is no report.
    """
    front = folder / FRONT
    if not front.is_file():
        raise Refusal(f"{front}: missing; {remedy_of(front)}")
    pages = [front, *sorted((folder / "pages").glob("*.md"))]
    figures = sorted((folder / "figures").glob("*.*"))
    return (
        {path.relative_to(folder).as_posix(): _text(path) for path in pages},
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in figures},
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise Refusal(f"{path}: corrupted; run: gapwise restore") from None


def is_report(folder: Path) -> bool:
    """Return whether a folder has a report.

    Args:
        folder: A folder, which may not exist.
    """
    return all((folder / name).is_file() for name in NEEDED)


def report_names(reports: Path) -> list[str]:
    """Return the names of the reports of protocols in a folder, in their order.

    Args:
        reports: The folder of all reports.
    """
    return [name for name in _folders(reports) if "+" not in name]


def partial_names(reports: Path) -> list[str]:
    """Return the names of the reports of only some studies, such as protocol+study, in order.

    Args:
        reports: The folder of all reports.
    """
    return [name for name in _folders(reports) if "+" in name]


def _folders(reports: Path) -> list[str]:
    return [path.name for path in sorted(reports.glob("*")) if is_report(path)]


def parse_report(texts: Mapping[str, str], place: str) -> WrittenReport:
    """Return the report that consists of these texts.

    Args:
        texts: The content of every file of `FILES` that is there.
        place: Where they are from, for errors.

    Raises:
        Refusal: A needed file is missing, or one is corrupted.
    """
    missing = [name for name in NEEDED if name not in texts]
    if missing:
        raise Refusal(f"{place}: {missing[0]}: missing; expected a report")
    read = {}
    for name in texts:
        try:
            read[name] = _parsed(name, texts[name])
        except (ValueError, TypeError, AttributeError):
            raise Refusal(f"{place}: {name}: corrupted; run: gapwise restore") from None
    return WrittenReport(
        metrics=read[METRICS],
        facts=read.get(FACTS, {}),
        contrasts=read[CONTRASTS],
        seeds=read.get(SEEDS, ()),
        claims=read.get(CLAIMS, ()),
    )


def _parsed(name: str, text: str) -> Any:
    """Return the parsed content of a file.

    Raises:
        ValueError, TypeError, AttributeError: The file is corrupted.
    """
    if name.endswith(".csv"):
        rows = tuple(parse_rows(io.StringIO(text, newline="")))
        _require_keys(name, rows)
        return rows
    document = json.loads(text)
    _require_keys(name, [document])
    return document


def _require_keys(name: str, documents: Sequence[Any]) -> None:
    """Check that rows or documents have the keys that every report has.

    Raises:
        ValueError: They do not.
    """
    for document in documents:
        if not isinstance(document, dict) or not KEYS.get(name, set()) <= document.keys():
            raise ValueError(name)
