"""Seconds of fit: the median of every arm, and its ratio to the baseline's."""

import pytest
from report_data import planned

from pipeline.comparison.timing import MEASURED, timing

STUDIES = {"one": {"dropout": "deterministic"}, "two": {"decay": "deterministic"}}
PLAN = planned("confirmation", STUDIES)


def test_arms_have_their_median_and_its_ratio_to_the_baselines():
    seconds = {"baseline1000": 1.0, "baseline1001": 2.0, "baseline1002": 6.0}
    seconds |= {"onedropout1000": 2.0, "onedropout1001": 3.0, "onedropout1002": 10.0}
    table = timing(PLAN, seconds).set_index(["study", "arm"])
    assert table.loc[("one", "baseline"), ["n", "median_seconds", "ratio"]].tolist() == [3, 2, 1]
    assert table.loc[("one", "dropout"), ["n", "median_seconds", "ratio"]].tolist() == [3, 3, 1.5]
    assert table.loc[("two", "decay"), "n"] == 0
    assert table.loc[("two", "decay"), ["median_seconds", "ratio"]].isna().all()
    assert set(table["source"]) == {MEASURED}


def test_the_baseline_that_studies_share_has_one_row():
    table = timing(PLAN, {"baseline1000": 4.0, "twodecay1001": 2.0})
    assert list(zip(table["study"], table["arm"], strict=True)) == [
        *(("one", "baseline"), ("one", "dropout"), ("two", "decay"))
    ]
    assert table.set_index("arm").loc["decay", "ratio"] == pytest.approx(0.5)


def test_without_a_clock_of_the_baseline_no_ratio_is_known():
    table = timing(PLAN, {"onedropout1000": 2.0}).set_index("arm")
    assert table.loc["dropout", "median_seconds"] == 2
    assert table["ratio"].isna().all()
