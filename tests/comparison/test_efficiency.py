"""Accuracy against cost: which rows there are, their costs, and which are efficient."""

import itertools

import numpy as np
import pandas as pd
import pytest
from ensemble_scores import ALL, ALONE, BINS, FOUR, NOISE, ONE, ensemble_scores

from pipeline.comparison.dominance import efficient
from pipeline.comparison.efficiency import COLUMNS, COSTS, efficiency
from pipeline.comparison.equal_cost import equal_cost
from pipeline.config.plan import Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.config.test_rules import TestRule

RULES = {"baseline": TestRule(), "a": TestRule(view="noise", members=12), "big": TestRule()}
SIZES = {"baseline": 100, "a": 100, "big": 500}


def plan():
    """Return a plan of one study; the arm `big` has more training images."""
    arms = tuple(
        PlannedArm(name=name, rule=rule, train_size=SIZES[name]) for name, rule in RULES.items()
    )
    runs = tuple(
        PlannedRun(study="one", arm=name, seed=seed, fingerprint=f"{name}{seed}")
        for name in RULES
        for seed in (1, 2)
    )
    return Plan(
        protocol="tiny",
        phase="confirmation",
        settings={},
        margin=0.01,
        data_digest="d",
        studies=(PlannedStudy(name="one", question="?", arms=arms),),
        runs=runs,
    )


def costs():
    """Return the table `costs`: one pass of the arm costs twice one of the baseline."""
    rows = [
        ("one", "baseline", 1.0, 1, 10.0),
        ("one", "a", 1.5, 12, 240.0),
        ("one", "big", 5.0, 1, 10.0),
    ]
    return pd.DataFrame(rows, columns=["study", "arm", "training_ratio", "passes", "test_flops"])


def rules():
    """Return the table `rules`."""
    rows = [
        ("one", "baseline", "deterministic", 1, "test", "accuracy", 2, 0.8),
        ("one", "baseline", "deterministic", 1, "validation", "accuracy", 2, 0.1),
        ("one", "baseline", "deterministic", 1, "test", "nll", 2, 0.1),
        ("one", "a", "noise", 12, "test", "accuracy", 2, 0.9),
        ("one", "a", "deterministic", 1, "test", "accuracy", 2, 0.85),
        ("one", "big", "deterministic", 1, "test", "accuracy", 2, 0.99),
    ]
    columns = ["study", "arm", "view", "members", "split", "metric", "n", "mean"]
    return pd.DataFrame(rows, columns=columns).assign(low=0.0, high=1.0)


def ensembles():
    """Return the table `equal_cost`; a test image costs as many passes as there are."""
    return equal_cost(ensemble_scores(ALL, NOISE, FOUR, ALONE, ONE), BINS)


def test_single_networks_are_rows_with_their_own_rule_and_others():
    table = efficiency(plan(), costs(), rules(), ensembles())
    assert list(table.columns) == list(COLUMNS)
    shown = table.loc[table["kind"] != "ensemble", ["kind", "name", "view", *COSTS, "accuracy"]]
    assert shown.to_numpy().tolist() == [
        ["arm", "baseline", "deterministic", 1.0, 1.0, 0.8],
        ["arm", "a", "noise", 1.5, 24.0, 0.9],
        ["averaging at test", "a", "deterministic", 1.5, 2.0, 0.85],
    ]


def test_the_baseline_and_an_arm_of_equal_runs_are_rows_of_their_first_study_alone():
    """The second study has its own runs of the baseline, those of `a`, and others as `b`."""
    one = plan()
    again = [run for run in one.runs if run.arm == "a"]
    names = {"baseline": "other", "b": "b"}
    new = [
        PlannedRun(study="two", arm=arm, seed=seed, fingerprint=f"{name}{seed}")
        for arm, name in names.items()
        for seed in (1, 2)
    ]
    runs = (*one.runs, *new, *(run.model_copy(update={"study": "two"}) for run in again))
    arms = (*one.studies[0].arms[:2], PlannedArm(name="b", rule=TestRule(), train_size=100))
    studies = (*one.studies, PlannedStudy(name="two", question="?", arms=arms))
    given = []
    for table in (costs(), rules()):
        two = table[table["arm"] != "big"].assign(study="two")
        b = two[two["arm"] == "baseline"].assign(arm="b")
        given.append(pd.concat([table, two, b], ignore_index=True))
    both = one.model_copy(update={"studies": studies, "runs": runs})
    table = efficiency(both, *given, ensembles())
    shown = table.loc[table["kind"] == "arm", ["study", "name"]].to_numpy().tolist()
    assert shown == [["one", "baseline"], ["one", "a"], ["two", "b"]]


def test_ensembles_are_the_methods_that_average_more_than_one_compared_network():
    table = efficiency(plan(), costs(), rules(), ensembles())
    shown = table.loc[table["kind"] == "ensemble", ["name", *COSTS]]
    assert shown.to_numpy().tolist() == [["independent", 4.0, 4.0], ["greedy", 9.0, 5.0]]


@pytest.mark.parametrize("names", [COSTS, COSTS[:1], COSTS[1:]])
def test_a_row_is_efficient_unless_another_one_dominates_it(names):
    generator = np.random.default_rng(len(names))
    table = pd.DataFrame(
        {
            "training_ratio": generator.integers(1, 5, 40).astype(float),
            "test_ratio": generator.integers(1, 5, 40).astype(float),
            "accuracy": generator.integers(1, 9, 40) / 10,
        }
    )
    dominated = set()
    for one, other in itertools.permutations(range(len(table)), 2):
        mine, theirs = table.iloc[one], table.iloc[other]
        no_worse = theirs["accuracy"] >= mine["accuracy"]
        no_worse &= all(theirs[name] <= mine[name] for name in names)
        better = theirs["accuracy"] > mine["accuracy"]
        better |= any(theirs[name] < mine[name] for name in names)
        if no_worse and better:
            dominated.add(one)
    expected = [number not in dominated for number in range(len(table))]
    assert efficient(table, names) == expected
    assert 0 < sum(expected) < len(table)


def test_costs_that_are_equal_to_two_decimals_are_equal():
    table = pd.DataFrame(
        {"training_ratio": [1.0, 1.001], "test_ratio": [1.0, 1.0], "accuracy": [0.8, 0.9]}
    )
    assert efficient(table, COSTS) == [False, True]
