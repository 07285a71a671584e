"""Read the rows of a table without pandas, whose import is slow."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import remedy_of

MAPPINGS = ("setting", "other_setting", "factor")  # columns of mappings, stored as JSON
WORDS = (  # columns of text: a fingerprint such as 12345e67 is not a number
    *("fingerprint", "view", "split", "metric", "study", "arm", "verdict", "method", "model"),
    *("against", "first", "second", "measure", "source", "outcome", "stream", "regularizer"),
    *("role", "scope", "problem", "advice"),
    *("other", "protocol", "reference", "reference_fingerprint", "strength", "rule"),
    *("layer", "uncounted", "verdict_other_images", "check", "subject", "classifier"),
    *("pretraining", "train", "stopped", "often", "better"),
    *("hyperparameter", "scale", "at", "from", "to", "end", "moved", "leader"),
    *("claim", "by", "says", "expect", "alternative", "contrast", "than", "reason"),
    "published_setting",
)
TRUTH = {"True": True, "False": False}


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table in `path`; an empty cell of a column of numbers is NaN.

    A whole number is an int, also in a column of others.

    Args:
        path: The CSV file.

    Raises:
        Refusal: The table is missing.
    """
    require_table(path)
    with path.open(encoding="utf-8", newline="") as lines:
        yield from parse_rows(lines)


def parse_rows(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table in these lines; an empty cell of a column of numbers is NaN.

    Args:
        lines: The lines of the file, the names of the columns first.
    """
    for row in csv.DictReader(lines):
        yield {name: PARSERS.get(name, _number_or_truth)(cell) for name, cell in row.items()}


def require_table(path: Path) -> None:
    """Check that a table is there.

    Args:
        path: The CSV file.

    Raises:
        Refusal: It is missing.
    """
    if not path.is_file():
        raise Refusal(f"{path}: missing; {remedy_of(path)}")


def _unchanged(cell: str) -> str:
    return cell


def _number_or_truth(cell: str) -> bool | int | float:
    """Return the value of a cell: True, False, a whole number or a number; NaN if it is empty."""
    if cell in TRUTH:
        return TRUTH[cell]
    return int(cell) if cell.removeprefix("-").isdecimal() else float(cell or "nan")


PARSERS: dict[str, Callable[[str], Any]] = {  # by column; all other columns: _number_or_truth
    **dict.fromkeys(MAPPINGS, json.loads),
    **dict.fromkeys(WORDS, _unchanged),
}
