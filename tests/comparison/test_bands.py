"""Means with intervals by group, against scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison.bands import bands
from pipeline.comparison.intervals import interval


def test_bands_are_student_t_intervals_of_the_mean() -> None:
    values = {"b": [0.1, 0.4, np.nan, 0.2], "a": [1.0, 1.5]}
    rows = [(name, value) for name, numbers in values.items() for value in numbers]
    table = bands(pd.DataFrame(rows, columns=["name", "value"]), ["name"], "value")
    assert list(table.columns) == ["name", "n", "mean", "low", "high"]
    assert list(table["name"]) == ["b", "a"]
    for row, numbers in zip(table.itertuples(), values.values(), strict=True):
        present = np.array([value for value in numbers if not np.isnan(value)])
        expected = stats.t.interval(0.95, len(present) - 1, present.mean(), stats.sem(present))
        assert (row.low, row.high) == pytest.approx(expected)
        same = interval(present)
        assert (row.n, row.low, row.high) == pytest.approx((same.n, same.low, same.high))


def test_one_value_has_no_band_and_equal_values_one_without_width() -> None:
    frame = pd.DataFrame({"name": ["a", "b", "b"], "value": [0.5, 0.7, 0.7]})
    table = bands(frame, ["name"], "value").set_index("name")
    assert table.loc["a", ["low", "high"]].isna().all()
    assert table.loc["b", ["mean", "low", "high"]].tolist() == [0.7, 0.7, 0.7]


def test_no_rows_give_no_bands() -> None:
    assert bands(pd.DataFrame({"name": [], "value": []}), ["name"], "value").empty
