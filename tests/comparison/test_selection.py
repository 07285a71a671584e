"""The choice of settings: validation alone, ties, and runs that did not finish."""

from math import nan

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.choose import COLUMNS
from pipeline.comparison.explored import TRIED
from pipeline.comparison.selection import choice, searches, tried
from pipeline.config.plan import Dimension, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.planning.response import smoothed

X, Y, Z = ({"dropout": {"rate": rate}} for rate in (0.1, 0.5, 0.9))


def runs(*rows):
    """Return done runs from (arm, setting, accuracies, nlls), one per accuracy."""
    table = [
        {
            "study": "one",
            "arm": arm,
            "setting": setting,
            "budget": 1.0,
            "seed": seed,
            "state": "done",
            "validation_accuracy": accuracy,
            "validation_nll": nll,
        }
        for arm, setting, accuracies, nlls in rows
        for seed, (accuracy, nll) in enumerate(zip(accuracies, nlls, strict=True))
    ]
    return pd.DataFrame(table, columns=list(COLUMNS))


def plan_of(frame, **spaces):
    """Return the exploration plan of runs; `spaces` are the dimensions of an arm by its name."""
    studies = []
    for name, group in frame.groupby("study", sort=False):
        arms = [
            PlannedArm(name=arm, space=spaces.get(arm, ())) for arm in dict.fromkeys(group["arm"])
        ]
        studies.append(PlannedStudy(name=name, question="?", arms=tuple(arms)))
    planned = [
        PlannedRun(
            **{name: row[name] for name in ("study", "arm", "setting", "seed")},
            fingerprint=str(number),
            round=later(row["setting"]),
        )
        for number, row in enumerate(frame.to_dict("records"))
    ]
    return Plan(
        protocol="p",
        phase="exploration",
        settings={},
        margin=0.01,
        data_digest="",
        studies=tuple(studies),
        runs=tuple(planned),
    )


def later(setting):
    """Return the round of a setting: widening has added rates above 0.4."""
    return 2 if setting.get("dropout", {}).get("rate", 0) > 0.4 else 1


def table_of(frame, **spaces):
    """Return what was tried in these runs."""
    return tried(plan_of(frame, **spaces), frame)


def chosen(frame, **spaces):
    """Return what is chosen from these runs."""
    return choice(table_of(frame, **spaces))


def ended(frame, state, row):
    """Return `frame` with one run that ended in another state."""
    frame.loc[row, "state"] = state
    frame.loc[row, ["validation_accuracy", "validation_nll"]] = nan
    return frame


def test_the_highest_mean_is_chosen_and_the_whole_table_is_kept():
    table = table_of(
        runs(
            ("baseline", {}, [0.99, 0.99, 0.99], [0.1] * 3),
            ("dropout", X, [0.80, 0.95, 0.80], [0.1] * 3),  # best single run
            ("dropout", Y, [0.90, 0.84, 0.87], [0.9] * 3),  # best mean
            ("dropout", Z, [0.70, 0.71, 0.72], [0.2] * 3),
        )
    )
    assert tuple(table.columns) == TRIED
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
    assert chosen(by_nll) == {"one": {"a": Y}}
    by_plan = runs(("a", Z, values, [0.5] * 3), ("a", X, values[::-1], [0.5] * 3))
    assert chosen(by_plan) == {"one": {"a": Z}}


def test_one_seed_is_chosen_from_without_an_interval():
    table = table_of(runs(("a", X, [0.8], [0.1]), ("a", Y, [0.9], [0.1])))
    assert choice(table) == {"one": {"a": Y}}
    assert table[["validation_accuracy_low", "validation_accuracy_high"]].isna().all(axis=None)


@pytest.mark.parametrize("state", ["diverged", "failed", "missing"])
def test_a_setting_with_an_unfinished_run_is_shown_and_not_chosen(state):
    frame = runs(("a", X, [0.99, 0.99], [0.1] * 2), ("a", Y, [0.5, 0.5], [0.1] * 2))
    table = table_of(ended(frame, state, 0))
    assert choice(table) == {"one": {"a": Y}}
    assert table.loc[0, ["n", "done", state]].tolist() == [1, 1, 1]
    assert table.loc[0, "validation_accuracy"] == 0.99
    assert table.loc[1, ["n", "done", state]].tolist() == [2, 2, 0]


def test_an_arm_without_any_finished_setting_has_no_choice():
    frame = runs(("a", X, [0.9], [0.1]), ("b", X, [0.9], [0.1]), ("c", X, [0.9], [0.1]))
    table = table_of(ended(ended(frame, "diverged", 0), "missing", 1))
    assert choice(table) == {"one": {"a": None, "b": None, "c": X}}
    assert list(table["chosen"]) == [False, False, True]


def test_a_baseline_that_diverged_stops_no_arm():
    frame = runs(("baseline", {}, [0.9], [0.1]), ("a", X, [0.9], [0.1]))
    assert chosen(ended(frame, "diverged", 0)) == {"one": {"a": X}}


def test_a_score_that_is_no_number_is_not_chosen():
    table = table_of(runs(("a", X, [nan, 0.9], [nan, 0.1]), ("a", Y, [0.5, 0.5], [0.1] * 2)))
    assert choice(table) == {"one": {"a": Y}}
    assert chosen(runs(("a", X, [nan], [nan]), ("a", Y, [nan], [nan]))) == {"one": {"a": None}}


def test_equal_names_in_two_studies_are_chosen_apart():
    frame = pd.concat(
        [
            runs(("a", X, [0.9], [0.1]), ("a", Y, [0.8], [0.1])),
            runs(("a", X, [0.7], [0.1]), ("a", Y, [0.8], [0.1])),
        ]
    )
    frame["study"] = ["one", "one", "two", "two"]
    assert chosen(frame) == {"one": {"a": X}, "two": {"a": Y}}


def test_settings_are_told_apart_by_all_their_values():
    """Of two regularizers and of the protocol, too; a text is no number."""
    settings = [
        {"dropout": {"rate": 0.1}, "augmentation": {"shift": 1}},
        {"dropout": {"rate": 0.1}, "augmentation": {"shift": 2}},
        {"dropout": {"rate": 0.1}, "protocol": {"model.batch_norm": False}},
        {"dropout": {"rate": 0.1}, "protocol": {"model.batch_norm": "false"}},
    ]
    rows = [("a", setting, [place / 10] * 2, [0.1] * 2) for place, setting in enumerate(settings)]
    table = table_of(runs(*rows))
    assert table["setting"].tolist() == settings
    assert table["n"].tolist() == [2, 2, 2, 2]
    assert choice(table) == {"one": {"a": settings[3]}}


def test_nothing_explored_is_an_empty_table():
    table = table_of(runs())
    assert (len(table), choice(table), tuple(table.columns)) == (0, {}, TRIED)


RATE = Dimension(part="dropout", key="rate", scale="uniform")


def curve(values, seeds=1):
    """Return runs of five rates with these accuracies, and a baseline of 0.8."""
    rates = [{"dropout": {"rate": round(0.1 * (number + 1), 1)}} for number in range(len(values))]
    arms = [
        ("a", rate, [value] * seeds, [0.1] * seeds)
        for rate, value in zip(rates, values, strict=True)
    ]
    return runs(("baseline", {}, [0.8] * seeds, [0.1] * seeds), *arms)


@pytest.mark.parametrize(
    ("values", "dimension", "edge", "at_bound", "place"),
    [
        ([0.7, 0.8, 0.9, 0.8, 0.7], RATE, False, False, "rate=0.3"),
        ([0.7, 0.75, 0.8, 0.85, 0.9], RATE, True, False, "rate=0.5"),
        (
            [0.9, 0.85, 0.8, 0.75, 0.7],
            RATE.model_copy(update={"lowest": True}),
            *(True, True, "rate=0.1"),
        ),
        (
            [0.7, 0.75, 0.8, 0.85, 0.9],
            RATE.model_copy(update={"lowest": True}),
            *(True, False, "rate=0.5"),
        ),
        ([0.7, 0.8, 0.9], RATE.model_copy(update={"scale": None}), True, False, "rate=0.3"),
    ],
)
def test_a_choice_at_an_end_is_an_edge_unless_its_field_ends_there(
    values, dimension, edge, at_bound, place
):
    frame = curve(values)
    plan = plan_of(frame, a=(dimension,))
    (row,) = searches(plan, tried(plan, frame), frame).to_dict("records")
    assert (row["edge"], row["at_bound"], row["place"]) == (edge, at_bound, place)
    assert (row["trials"], row["seeds"], row["ordered"]) == (len(values), 1, True)
    assert row["first_trials"] == min(len(values), 4)
    assert not row["exhausted"]
    full = plan_of(frame, a=(dimension.model_copy(update={"exhausted": True}),))
    (row,) = searches(full, tried(full, frame), frame).to_dict("records")
    assert row["exhausted"]


def test_the_gain_of_a_search_is_paired_by_seed():
    frame = runs(
        ("baseline", {}, [0.8, 0.7, 0.6], [0.1] * 3),
        ("a", X, [0.81, 0.72, 0.63], [0.1] * 3),
        ("a", Y, [0.1, 0.1, 0.1], [0.1] * 3),
    )
    plan = plan_of(frame)
    (row,) = searches(plan, tried(plan, frame), frame).to_dict("records")
    expected = stats.ttest_1samp([0.01, 0.02, 0.03], 0).confidence_interval(0.95)
    assert row["gain"] == pytest.approx(0.02)
    assert (row["gain_low"], row["gain_high"]) == pytest.approx(tuple(expected))


def test_settings_are_in_the_order_of_their_values():
    """A widened space has its new values at an end of the table, not after the others."""
    frame = runs(("a", Y, [0.9], [0.1]), ("a", Z, [0.8], [0.1]), ("a", X, [0.7], [0.1]))
    assert table_of(frame, a=(RATE,))["setting"].tolist() == [X, Y, Z]


def test_the_tuned_baseline_is_chosen_in_its_own_study_alone():
    rates = [{"protocol": {"training.learning_rate": rate}} for rate in (0.01, 0.1)]
    frame = runs(("baseline", rates[0], [0.8], [0.1]), ("baseline", rates[1], [0.9], [0.1]))
    assert choice(table_of(frame)) == {}
    assert choice(table_of(frame.assign(study="tuning"))) == {"tuning": {"baseline": rates[1]}}


def test_the_response_curve_is_in_the_table_where_there_is_one():
    table = table_of(curve([0.75, 0.8, 0.9, 0.8, 0.75]), a=(RATE,))
    fitted = smoothed(np.arange(5.0), np.array([[0.75, 0.8, 0.9, 0.8, 0.75]]))
    assert np.isnan(table["fitted"].iloc[0])
    assert table["fitted"].iloc[1:].tolist() == pytest.approx(fitted.tolist())
    assert table_of(curve([0.7, 0.8, 0.9]), a=(RATE,))["fitted"].isna().all()


def test_settings_have_their_scores_by_seed_and_paired_changes_against_the_reference():
    frame = runs(
        ("baseline", {}, [0.8, 0.7], [0.1, 0.1]),
        ("a", X, [0.9, 0.75], [0.1, 0.1]),
        ("a", Y, [0.2, 0.1], [0.1, 0.1]),
    )
    frame.loc[3, ["state", "validation_accuracy"]] = ["failed", nan]  # X, the second seed
    shuffled = frame.iloc[::-1]
    table = tried(plan_of(frame), shuffled)
    rows = {str(row["setting"]): row for row in table.to_dict("records")}
    assert rows[str(X)]["scores"] == [0.9, None]
    assert rows[str(X)]["changes"] == [0.1, None]
    assert rows[str(X)]["change"] == 0.1
    assert rows[str(Y)]["changes"] == [-0.6, -0.6]
    assert rows["{}"]["changes"] == []
    assert [rows[str(setting)]["collapsed"] for setting in (X, Y)] == [False, True]
