"""The index of all reports: baselines, and arms by protocol."""

import math
import re

import pandas as pd

from pipeline.reporting.index import Summary, difference_rows, index_page

NAN = math.nan


def summary(arms: dict[str, tuple[float, float, float]], accuracy: float | None = 91.24) -> Summary:
    """Return what a report leaves behind; arms with (low, difference, high)."""
    metrics = {
        "baseline": {"accuracy": accuracy, "gap": accuracy and 3.5},
        "points": {},
        "runs": {"planned": 12, "done": 11},
    }
    rows = [
        {"arm": arm, "low": low, "difference": difference, "high": high}
        for arm, (low, difference, high) in arms.items()
    ]
    return Summary(metrics, pd.DataFrame(rows, columns=["arm", "low", "difference", "high"]))


REPORTS = {
    "digits": summary({"mixup": (-0.01, 0.02, 0.05), "dropout": (0.01, 0.02, 0.03)}),
    "mnist": summary({"dropout": (NAN, 0.001, NAN)}, accuracy=None),
}


def tables(page: str) -> list[list[list[str]]]:
    """Return the cells of every table, without its head."""
    blocks = re.findall(r"(?:^\|.*\n)+", page, flags=re.M)
    lines = [block.splitlines()[2:] for block in blocks]
    return [[[cell.strip() for cell in line.split("|")[1:-1]] for line in rows] for rows in lines]


def test_every_arm_is_a_row_with_a_cell_for_every_protocol() -> None:
    assert difference_rows(REPORTS) == [
        {"arm": "dropout", "digits": "+2.0 [+1.0, +3.0]", "mnist": "+0.1"},
        {"arm": "mixup", "digits": "+2.0 [-1.0, +5.0]", "mnist": "–"},
    ]


def test_the_page_has_the_baselines_and_the_differences() -> None:
    baselines, differences = tables(index_page(REPORTS))
    assert baselines == [
        ["[digits](digits/report.md)", "91.2", "3.5", "11 of 12"],
        ["[mnist](mnist/report.md)", "–", "–", "11 of 12"],
    ]
    assert [row[0] for row in differences] == ["dropout", "mixup"]


def test_reports_without_an_arm_are_listed_alone() -> None:
    assert len(tables(index_page({"digits": summary({})}))) == 1
