"""The page of the wall clock: medians and multiples of the baseline's as they were measured."""

import pandas as pd
from report_data import NAN, report_data

from pipeline.reporting.timing import timing_page

VERDICTS = {"layers": (0.02, "helps"), "late": (0.0, "inconclusive")}
DATA = report_data({"study": dict.fromkeys(VERDICTS, "deterministic")}, VERDICTS)


def test_a_row_has_the_median_its_multiple_and_the_runs() -> None:
    rows = [("baseline", 3, 2.0, 1.0), ("layers", 2, 5.0, 2.5), ("late", 0, NAN, NAN)]
    frame = pd.DataFrame(rows, columns=["arm", "n", "median_seconds", "ratio"])
    page = timing_page(DATA, frame.assign(study="study"))
    lines = [line for line in page.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, _, *body = cells
    assert head == ["arm", "median seconds of training", "x baseline", "n"]
    assert [row[1:] for row in body] == [
        ["2.00", "1.00", "3"],
        ["5.00", "2.50", "2"],
        ["–", "–", "0"],
    ]
    assert body[1][0].startswith("layers")
