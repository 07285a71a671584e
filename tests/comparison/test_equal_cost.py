"""Ways to predict with a group: the order of rows, their roles, and what is paired."""

import numpy as np
import pandas as pd
import pytest
from ensemble_scores import ALL, ALONE, BINS, FOUR, NOISE, ONE, ensemble_scores

from pipeline.comparison.equal_cost import COLUMNS, equal_cost


def rows(table: pd.DataFrame, metric: str = "accuracy") -> pd.DataFrame:
    """Return the rows of one metric by method."""
    return table[table["metric"] == metric].set_index("method")


def test_rows_start_with_one_model_and_follow_cost_then_passes() -> None:
    table = equal_cost(ensemble_scores(ALL, NOISE, FOUR, ALONE, ONE), BINS)
    assert list(table.columns) == list(COLUMNS)
    cost = rows(table, "training_cost")
    assert cost["mean"].to_dict() == {
        "one model": 1,
        "one model of a": 1,
        "noise of a": 1,
        "independent": 4,
        "greedy": 9,
    }
    assert list(cost.index) == list(dict.fromkeys(table["method"]))
    assert list(cost["role"]) == ["single", "reference", "average", "average", "mixed"]
    # of a: as accurate as four networks at no higher cost; its noise passes: the most accurate
    assert list(cost["efficient"]) == [False, True, True, False, False]


def test_a_gain_is_paired_with_what_the_row_names() -> None:
    table = equal_cost(ensemble_scores(ONE, FOUR, NOISE, ALONE), BINS)
    noise = rows(table).loc["noise of a"]
    assert (noise["difference"], noise["pairs"]) == (pytest.approx(0.05), 3)
    # the shifts of the groups cancel, the jitter of one side stays
    half = 4.302652729911275 * 0.001 / np.sqrt(3)
    four = rows(table, "nll").loc["independent"]
    interval = [four[name] for name in ("difference_low", "difference", "difference_high")]
    assert interval == pytest.approx([-0.1 - half, -0.1, -0.1 + half])


def test_a_method_without_a_group_is_paired_over_the_others() -> None:
    scores = ensemble_scores(ONE, FOUR)
    scores = scores[(scores["method"] != "independent") | (scores["group"] > 0)]
    row = rows(equal_cost(scores, BINS)).loc["independent"]
    assert (row["n"], row["pairs"]) == (2, 2)


def test_n_counts_the_groups_of_the_mean() -> None:
    scores = ensemble_scores(ONE, FOUR)
    is_member = (scores["method"] == "independent") & (scores["metric"] == "nll")
    lost = scores["value"].mask(is_member & (scores["group"] == 0))
    table = equal_cost(scores.assign(value=lost), BINS)
    nll, accuracy = (rows(table, metric).loc["independent"] for metric in ("nll", "accuracy"))
    assert (nll["n"], nll["pairs"], accuracy["n"]) == (2, 2, 3)
    kept = scores.loc[is_member & (scores["group"] > 0), "value"]
    assert nll["mean"] == pytest.approx(kept.mean())


def test_a_metric_that_a_method_does_not_have_has_no_row() -> None:
    scores = ensemble_scores(ONE, FOUR)
    unknown = (scores["metric"] == "disagreement") & (scores["method"] == "one model")
    table = equal_cost(scores.assign(value=scores["value"].mask(unknown)), BINS)
    assert list(rows(table, "disagreement").index) == ["independent"]
    assert rows(table, "optimism").empty
    assert rows(table, "overconfidence").empty


def test_optimism_is_the_difference_of_the_halves() -> None:
    scores = ensemble_scores(ONE, ALL)
    selecting = [("s", group, "greedy", "nll_gain_selecting", 0.3) for group in range(3)]
    held_out = [("s", group, "greedy", "nll_gain_held_out", group / 10) for group in range(3)]
    columns = ["study", "group", "method", "metric", "value"]
    halves = pd.DataFrame([*selecting, *held_out], columns=columns)
    halves = halves.assign(model="every arm", against="one model")
    row = rows(equal_cost(pd.concat([scores, halves]), BINS), "optimism").loc["greedy"]
    assert row["mean"] == pytest.approx(0.2)
    assert row["high"] - row["mean"] == pytest.approx(4.302652729911275 * 0.1 / np.sqrt(3))


def test_overconfidence_weighs_bins_by_their_images() -> None:
    bins = [
        ("s", 0, "greedy", 0.0, 0.5, 10, 0.4, 0.2),
        ("s", 0, "greedy", 0.5, 1.0, 30, 0.9, 0.7),
        ("s", 1, "greedy", 0.0, 0.5, 0, np.nan, np.nan),
        ("s", 1, "greedy", 0.5, 1.0, 40, 0.8, 0.9),
    ]
    table = equal_cost(ensemble_scores(ONE, ALL), pd.DataFrame(bins, columns=BINS.columns))
    row = rows(table, "overconfidence").loc["greedy"]
    assert row["mean"] == pytest.approx(((10 * 0.2 + 30 * 0.2) / 40 + -0.1) / 2)


def test_studies_do_not_mix_and_none_gives_no_row() -> None:
    one = ensemble_scores(ONE, FOUR)
    other = ensemble_scores(ONE, ALL).assign(study="t")
    table = equal_cost(pd.concat([one, other]), BINS)
    methods = table.groupby("study")["method"].unique()
    assert list(methods["s"]) == ["one model", "independent"]
    assert list(methods["t"]) == ["one model", "greedy"]
    assert equal_cost(one.iloc[:0], BINS).empty
