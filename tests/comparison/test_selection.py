"""The choice of settings: validation alone, ties, and runs that did not finish."""

from math import nan

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison.selection import COLUMNS, choice, tried

X, Y, Z = ({"dropout": {"rate": rate}} for rate in (0.1, 0.5, 0.9))


def runs(*rows):
    """Return done runs from (arm, setting, accuracies, nlls), one per accuracy."""
    table = [
        {
            "study": "one",
            "arm": arm,
            "setting": setting,
            "state": "done",
            "validation_accuracy": accuracy,
            "validation_nll": nll,
        }
        for arm, setting, accuracies, nlls in rows
        for accuracy, nll in zip(accuracies, nlls, strict=True)
    ]
    columns = ["study", "arm", "setting", "state", "validation_accuracy", "validation_nll"]
    return pd.DataFrame(table, columns=columns)


def ended(frame, state, row):
    """Return `frame` with one run that ended in another state."""
    frame.loc[row, "state"] = state
    frame.loc[row, ["validation_accuracy", "validation_nll"]] = nan
    return frame


def test_the_highest_mean_is_chosen_and_the_whole_table_is_kept():
    table = tried(
        runs(
            ("baseline", {}, [0.99, 0.99, 0.99], [0.1] * 3),
            ("dropout", X, [0.80, 0.95, 0.80], [0.1] * 3),  # best single run
            ("dropout", Y, [0.90, 0.84, 0.87], [0.9] * 3),  # best mean
            ("dropout", Z, [0.70, 0.71, 0.72], [0.2] * 3),
        )
    )
    assert tuple(table.columns) == COLUMNS
    assert table["setting"].tolist() == [{}, X, Y, Z]
    assert table["chosen"].tolist() == [False, False, True, False]
    assert choice(table) == {"one": {"dropout": Y}}
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
        ("a", X, values, [0.5] * 3), ("a", Y, values[::-1], [0.4] * 3), ("a", Z, values, [0.6] * 3)
    )
    assert choice(tried(by_nll)) == {"one": {"a": Y}}
    by_plan = runs(("a", Z, values, [0.5] * 3), ("a", X, values[::-1], [0.5] * 3))
    assert choice(tried(by_plan)) == {"one": {"a": Z}}


def test_one_seed_is_chosen_from_without_an_interval():
    table = tried(runs(("a", X, [0.8], [0.1]), ("a", Y, [0.9], [0.1])))
    assert choice(table) == {"one": {"a": Y}}
    assert table[["validation_accuracy_low", "validation_accuracy_high"]].isna().all(axis=None)


@pytest.mark.parametrize("state", ["diverged", "failed", "missing"])
def test_a_setting_with_an_unfinished_run_is_shown_and_not_chosen(state):
    frame = runs(("a", X, [0.99, 0.99], [0.1] * 2), ("a", Y, [0.5, 0.5], [0.1] * 2))
    table = tried(ended(frame, state, 0))
    assert choice(table) == {"one": {"a": Y}}
    assert table.loc[0, ["n", "done", state]].tolist() == [1, 1, 1]
    assert table.loc[0, "validation_accuracy"] == 0.99
    assert table.loc[1, ["n", "done", state]].tolist() == [2, 2, 0]


def test_an_arm_without_any_finished_setting_has_no_choice():
    frame = runs(("a", X, [0.9], [0.1]), ("b", X, [0.9], [0.1]), ("c", X, [0.9], [0.1]))
    table = tried(ended(ended(frame, "diverged", 0), "missing", 1))
    assert choice(table) == {"one": {"a": None, "b": None, "c": X}}
    assert list(table["chosen"]) == [False, False, True]


def test_a_baseline_that_diverged_stops_no_arm():
    frame = runs(("baseline", {}, [0.9], [0.1]), ("a", X, [0.9], [0.1]))
    assert choice(tried(ended(frame, "diverged", 0))) == {"one": {"a": X}}


def test_a_score_that_is_no_number_is_not_chosen():
    table = tried(runs(("a", X, [nan, 0.9], [nan, 0.1]), ("a", Y, [0.5, 0.5], [0.1] * 2)))
    assert choice(table) == {"one": {"a": Y}}
    assert choice(tried(runs(("a", X, [nan], [nan]), ("a", Y, [nan], [nan])))) == {
        "one": {"a": None}
    }


def test_equal_names_in_two_studies_are_chosen_apart():
    frame = pd.concat(
        [
            runs(("a", X, [0.9], [0.1]), ("a", Y, [0.8], [0.1])),
            runs(("a", X, [0.7], [0.1]), ("a", Y, [0.8], [0.1])),
        ]
    )
    frame["study"] = ["one", "one", "two", "two"]
    assert choice(tried(frame)) == {"one": {"a": X}, "two": {"a": Y}}


def test_settings_are_told_apart_by_all_their_values():
    """Of two regularizers and of the protocol, too; a text is no number."""
    settings = [
        {"dropout": {"rate": 0.1}, "augmentation": {"shift": 1}},
        {"dropout": {"rate": 0.1}, "augmentation": {"shift": 2}},
        {"dropout": {"rate": 0.1}, "protocol": {"model.batch_norm": False}},
        {"dropout": {"rate": 0.1}, "protocol": {"model.batch_norm": "false"}},
    ]
    rows = [("a", setting, [place / 10] * 2, [0.1] * 2) for place, setting in enumerate(settings)]
    table = tried(runs(*rows))
    assert table["setting"].tolist() == settings
    assert table["n"].tolist() == [2, 2, 2, 2]
    assert choice(table) == {"one": {"a": settings[3]}}


def test_nothing_explored_is_an_empty_table():
    table = tried(runs())
    assert (len(table), choice(table), tuple(table.columns)) == (0, {}, COLUMNS)
