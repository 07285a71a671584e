"""The choice of strengths: validation alone, ties, and runs that did not finish."""

from math import nan

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison.selection import COLUMNS, choice, tried


def runs(*rows):
    """(arm, strength, accuracies, nlls): done runs, one per accuracy."""
    table = [
        {
            "study": "one",
            "arm": arm,
            "strength": strength,
            "state": "done",
            "validation_accuracy": accuracy,
            "validation_nll": nll,
        }
        for arm, strength, accuracies, nlls in rows
        for accuracy, nll in zip(accuracies, nlls, strict=True)
    ]
    columns = ["study", "arm", "strength", "state", "validation_accuracy", "validation_nll"]
    return pd.DataFrame(table, columns=columns)


def ended(frame, state, row):
    """`frame` with one run that ended in another state."""
    frame.loc[row, "state"] = state
    frame.loc[row, ["validation_accuracy", "validation_nll"]] = nan
    return frame


def test_the_highest_mean_is_chosen_and_the_whole_table_is_kept():
    table = tried(
        runs(
            ("baseline", "", [0.99, 0.99, 0.99], [0.1] * 3),
            ("dropout", "rate=0.1", [0.80, 0.95, 0.80], [0.1] * 3),  # best single run
            ("dropout", "rate=0.5", [0.90, 0.84, 0.87], [0.9] * 3),  # best mean
            ("dropout", "rate=0.9", [0.70, 0.71, 0.72], [0.2] * 3),
        )
    )
    assert tuple(table.columns) == COLUMNS
    assert table["strength"].tolist() == ["", "rate=0.1", "rate=0.5", "rate=0.9"]
    assert table["chosen"].tolist() == [False, False, True, False]
    assert choice(table) == {"one": {"dropout": "rate=0.5"}}
    expected = stats.ttest_1samp([0.90, 0.84, 0.87], 0).confidence_interval(0.95)
    row = table.iloc[2]
    assert (row.validation_accuracy, row.validation_nll, row.n) == (
        pytest.approx(0.87),
        pytest.approx(0.9),
        3,
    )
    assert (row.validation_accuracy_low, row.validation_accuracy_high) == pytest.approx(
        tuple(expected)
    )


def test_ties_go_to_the_lower_nll_then_to_the_plan():
    # the same accuracies in another order: sums of doubles differ in the last bit
    values = [0.1, 0.2, 0.3]
    assert np.mean(values) != np.mean(values[::-1])
    by_nll = runs(
        ("a", "x", values, [0.5] * 3),
        ("a", "y", values[::-1], [0.4] * 3),
        ("a", "z", values, [0.6] * 3),
    )
    assert choice(tried(by_nll)) == {"one": {"a": "y"}}
    by_plan = runs(("a", "z", values, [0.5] * 3), ("a", "x", values[::-1], [0.5] * 3))
    assert choice(tried(by_plan)) == {"one": {"a": "z"}}


def test_one_seed_is_chosen_from_without_an_interval():
    table = tried(runs(("a", "x", [0.8], [0.1]), ("a", "y", [0.9], [0.1])))
    assert choice(table) == {"one": {"a": "y"}}
    assert table[["validation_accuracy_low", "validation_accuracy_high"]].isna().all(axis=None)


@pytest.mark.parametrize("state", ["diverged", "failed", "missing"])
def test_a_strength_with_an_unfinished_run_is_shown_and_not_chosen(state):
    frame = runs(("a", "x", [0.99, 0.99], [0.1] * 2), ("a", "y", [0.5, 0.5], [0.1] * 2))
    table = tried(ended(frame, state, 0))
    assert choice(table) == {"one": {"a": "y"}}
    assert table.loc[0, ["n", "done", state]].tolist() == [1, 1, 1]
    assert table.loc[0, "validation_accuracy"] == 0.99
    assert table.loc[1, ["n", "done", state]].tolist() == [2, 2, 0]


def test_an_arm_without_any_finished_strength_has_no_choice():
    frame = runs(("a", "x", [0.9], [0.1]), ("b", "x", [0.9], [0.1]), ("c", "x", [0.9], [0.1]))
    table = tried(ended(ended(frame, "diverged", 0), "missing", 1))
    assert choice(table) == {"one": {"a": None, "b": None, "c": "x"}}
    assert list(table["chosen"]) == [False, False, True]


def test_a_baseline_that_diverged_stops_no_arm():
    frame = runs(("baseline", "", [0.9], [0.1]), ("a", "x", [0.9], [0.1]))
    assert choice(tried(ended(frame, "diverged", 0))) == {"one": {"a": "x"}}


def test_a_score_that_is_no_number_is_not_chosen():
    table = tried(runs(("a", "x", [nan, 0.9], [nan, 0.1]), ("a", "y", [0.5, 0.5], [0.1] * 2)))
    assert choice(table) == {"one": {"a": "y"}}
    assert choice(tried(runs(("a", "x", [nan], [nan]), ("a", "y", [nan], [nan])))) == {
        "one": {"a": None}
    }


def test_equal_names_in_two_studies_are_chosen_apart():
    frame = pd.concat(
        [
            runs(("a", "x", [0.9], [0.1]), ("a", "y", [0.8], [0.1])),
            runs(("a", "x", [0.7], [0.1]), ("a", "y", [0.8], [0.1])),
        ]
    )
    frame["study"] = ["one", "one", "two", "two"]
    assert choice(tried(frame)) == {"one": {"a": "x"}, "two": {"a": "y"}}


def test_nothing_explored_is_an_empty_table():
    table = tried(runs())
    assert (len(table), choice(table), tuple(table.columns)) == (0, {}, COLUMNS)
