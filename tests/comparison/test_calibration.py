"""Bins of confidence over all groups."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from pipeline.comparison.calibration import exact_interval, pooled_bins


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
    few = bins.loc[("greedy", 0.0), ["accuracy", "accuracy_low", "accuracy_high"]]
    assert few.isna().all()
    # two groups with 70 images together: the interval of 35 with this share
    ends = list(bins.loc[("greedy", 0.5), ["accuracy_low", "accuracy_high"]])
    assert ends == pytest.approx(proportion_confint(57 / 2, 35, method="beta"))
    alone = list(bins.loc[("noise passes of a", 0.5), ["accuracy_low", "accuracy_high"]])
    assert alone == pytest.approx(proportion_confint(36, 40, method="beta"))


def test_the_interval_of_a_share_is_the_exact_one() -> None:
    counts = np.arange(9)
    bounds = exact_interval(counts / 8, np.full(9, 8.0))
    expected = [proportion_confint(count, 8, method="beta") for count in counts]
    assert np.allclose(np.array(bounds).T, expected)
    assert (bounds[0][0], bounds[1][-1]) == (0, 1)
