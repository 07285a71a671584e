"""The recipe: which arms it may name, how they are compared, and which one is the first."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.matching import WHERE, outcomes
from pipeline.comparison.recipe import COLUMNS, PAIRS, pairs, recipe
from pipeline.config.plan import Factor, Plan, PlannedArm, PlannedRun, PlannedStart, PlannedStudy

SEEDS = range(1000, 1008)
NOISE = np.random.default_rng(4).normal(0, 0.002, (10, len(SEEDS)))
SPLIT_NOISE = np.random.default_rng(5).normal(0, 0.01, len(SEEDS))  # shared by all arms of a seed


def compared(accuracies, *, costs=None, factors=None, against=None):
    """Return the plan, outcomes and contrasts of arms with these accuracies over a baseline."""
    costs, factors, against = costs or {}, factors or {}, against or {}
    names = ["baseline", *accuracies]
    arms = tuple(
        PlannedArm(
            name=name,
            factor=Factor()
            if name == "baseline"
            else factors.get(name, Factor(regularizers=(name,))),
            against=against.get(name, "baseline"),
        )
        for name in names
    )
    runs = tuple(
        PlannedRun(study="one", arm=name, seed=seed, fingerprint=f"{name}{seed}")
        for name in names
        for seed in SEEDS
    )
    plan = Plan(
        protocol="tiny",
        phase="confirmation",
        settings={},
        margin=0.005,
        data_digest="d",
        studies=(PlannedStudy(name="one", question="?", arms=arms),),
        runs=runs,
    )
    means = {"baseline": 0.8, **accuracies}
    rows = [
        (run.fingerprint, "deterministic", 1, split, metric, _score(means, names, run))
        for run in runs
        for split, metric in WHERE.values()
    ]
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    states = dict.fromkeys(plan.fingerprints(), "done")
    matched = outcomes(pd.DataFrame(rows, columns=columns), states, {run: {} for run in states})
    counted = {
        run.fingerprint: {
            "training_flops": 100 * costs.get(run.arm, (1, 1))[0],
            "forward_flops": 100 * costs.get(run.arm, (1, 1))[1],
        }
        for run in runs
    }
    return plan, matched, contrasts(plan, matched, counted, {})


def _score(means, names, run):
    seed = run.seed - SEEDS[0]
    return means[run.arm] + SPLIT_NOISE[seed] + NOISE[names.index(run.arm), seed]


def chosen(*given, **options):
    """Return the table of recipes."""
    plan, matched, table = compared(*given, **options)
    return recipe(plan, table, pairs(plan, matched, table))


def test_a_pair_is_the_paired_test_of_two_arms_that_help_and_is_corrected_over_the_pairs():
    plan, matched, table = compared({"a": 0.85, "b": 0.86, "none": 0.8, "c": 0.855})
    between = pairs(plan, matched, table)
    assert list(between.columns) == list(PAIRS)
    expected = list(itertools.combinations(["a", "b", "c"], 2))
    assert list(zip(between["other"], between["arm"], strict=True)) == expected
    names = ["baseline", "a", "b", "none", "c"]
    raw = []
    for row in between.to_dict("records"):
        first, second = (NOISE[names.index(row[key])] for key in ("arm", "other"))
        means = {"a": 0.85, "b": 0.86, "c": 0.855}
        first, second = first + means[row["arm"]], second + means[row["other"]]
        test = stats.ttest_rel(first, second)
        raw.append(test.pvalue)
        bounds = test.confidence_interval()
        assert [row["difference"], row["low"], row["high"], row["p"]] == pytest.approx(
            [np.mean(first - second), bounds.low, bounds.high, test.pvalue]
        )
    assert list(between["p_holm"]) == pytest.approx(list(multipletests(raw, method="holm")[1]))


def test_the_cheapest_arm_that_no_other_is_shown_to_beat_comes_first():
    costs = {"a": (3, 1), "b": (1, 1), "c": (1, 12)}
    table = chosen({"a": 0.85, "b": 0.85, "c": 0.85}, costs=costs)
    assert list(table.columns) == list(COLUMNS)
    assert list(table["arm"]) == ["b", "c", "a"]
    assert list(table["chosen"]) == [True, False, False]
    assert list(table["beaten"]) == [0, 0, 0]
    assert list(table["training_ratio"]) == [1, 1, 3]
    assert list(table["test_ratio"]) == [1, 12, 1]


def test_a_cheap_arm_that_is_beaten_is_not_chosen():
    table = chosen({"cheap": 0.83, "good": 0.87}, costs={"good": (5, 5)})
    assert list(table["arm"]) == ["good", "cheap"]
    assert list(table["beaten"]) == [0, 1]


def test_of_equal_costs_fewer_changes_decide_and_then_validation():
    both = Factor(regularizers=("a", "b"))
    table = chosen({"both": 0.8505, "a": 0.85, "b": 0.852}, factors={"both": both})
    assert list(table["arm"]) == ["b", "a", "both"]
    assert list(table["changes"]) == [1, 1, 2]


def test_an_arm_that_hurts_or_changes_the_data_or_has_another_reference_is_in_no_recipe():
    more = Factor(protocol={"data.train_size": 5000})
    table = chosen(
        {"worse": 0.7, "more": 0.9, "relative": 0.95, "fine": 0.85},
        factors={"more": more},
        against={"relative": "more"},
    )
    assert list(table["arm"]) == ["fine"]


def test_an_arm_that_helps_by_less_than_the_margin_is_in_no_recipe():
    plan, _, table = compared({"slight": 0.85})
    table["below_margin"] = table["metric"] == "test_accuracy"
    assert recipe(plan, table, pd.DataFrame(columns=list(PAIRS))).empty


def test_the_interval_is_corrected_for_all_contrasts():
    table = chosen({"a": 0.85, "b": 0.8, "c": 0.8, "d": 0.8})
    row = table.iloc[0]
    values = NOISE[1] - NOISE[0] + 0.05
    low, high = stats.t.interval(1 - 0.05 / 4, len(values) - 1, values.mean(), stats.sem(values))
    assert [row["low"], row["high"]] == pytest.approx([low, high])


def test_a_start_that_has_seen_more_examples_of_the_classes_is_no_choice():
    plan, matched, table = compared({"control": 0.9, "fine_tuning": 0.85})

    def started(more_data):
        start = PlannedStart(
            name="own", data="own", seed=1, fingerprint="start", images=9, more_data=more_data
        )
        runs = tuple(
            run.model_copy(update={"start": "start"}) if run.arm == "control" else run
            for run in plan.runs
        )
        changed = plan.model_copy(update={"starts": (start,), "runs": runs})
        return list(recipe(changed, table, pairs(changed, matched, table))["arm"])

    assert started(more_data=True) == ["fine_tuning"]
    assert started(more_data=False) == ["control", "fine_tuning"]
