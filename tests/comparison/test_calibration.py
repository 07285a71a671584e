"""Bins of confidence over all groups."""

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.calibration import pooled_bins


def test_bins_are_pooled_by_their_counts_and_few_images_show_no_accuracy() -> None:
    rows = [
        ("s", 0, "greedy", 0.0, 0.5, 10, 0.4, 0.2),
        ("s", 0, "greedy", 0.5, 1.0, 30, 0.9, 0.7),
        ("s", 1, "greedy", 0.0, 0.5, 0, np.nan, np.nan),
        ("s", 1, "greedy", 0.5, 1.0, 40, 0.8, 0.9),
        ("s", 1, "noise passes of a", 0.5, 1.0, 40, 0.8, 0.9),
    ]
    columns = ["study", "group", "method", "low", "high", "count", "confidence", "accuracy"]
    bins = pooled_bins(pd.DataFrame(rows, columns=columns)).set_index(["method", "low"])
    assert list(bins["share"]) == [10 / 80, 70 / 80, 1]
    assert bins.loc[("greedy", 0.5), "accuracy"] == pytest.approx((30 * 0.7 + 40 * 0.9) / 70)
    assert bins.loc[("greedy", 0.5), "confidence"] == pytest.approx((30 * 0.9 + 40 * 0.8) / 70)
    assert np.isnan(bins.loc[("greedy", 0.0), "accuracy"])
