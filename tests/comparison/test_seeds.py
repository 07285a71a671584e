"""The scores of every seed: those of the paired statistics, from which these can be recomputed."""

import numpy as np
import pandas as pd
import pytest
from report_data import COST, planned
from scipy import stats

from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.levels import SCORES
from pipeline.comparison.matching import WHERE, outcomes
from pipeline.comparison.seeds import COLUMNS, METRICS, seed_scores, with_targets
from pipeline.config.test_rules import DETERMINISTIC, NOISE
from pipeline.evaluation.metrics import GAPS

PLAN = planned("confirmation", {"one": {"dropout": "noise_12", "mixup": "deterministic"}})
NAMES = PLAN.fingerprints()


def results(states=None, machines=None):
    """Return the outcomes of runs whose scores all differ, those of noise from the others too."""
    generator = np.random.default_rng(4)
    wanted = [(DETERMINISTIC, *where) for where in WHERE.values()]
    wanted += [(NOISE, *where) for where in SCORES.values()]
    rows = [
        (name, rule.view, rule.members, split, metric, generator.uniform())
        for name in NAMES
        for rule, split, metric in wanted
    ]
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    alike = {"device": "cpu"}
    return outcomes(
        pd.DataFrame(rows, columns=columns),
        dict.fromkeys(NAMES, "done") | (states or {}),
        dict.fromkeys(NAMES, alike) | (machines or {}),
    )


def test_every_arm_has_a_row_per_seed_with_its_reference():
    table = seed_scores(PLAN, results())
    assert tuple(table.columns) == COLUMNS
    assert table["arm"].tolist() == ["dropout"] * 3 + ["mixup"] * 3
    assert table["seed"].tolist() == [1000, 1001, 1002] * 2
    assert set(table["protocol"]) == {"tiny"}
    assert set(table["reference"]) == {"baseline"}
    assert table["fingerprint"].tolist()[0] == "onedropout1000"
    assert table["reference_fingerprint"].tolist()[0] == "baseline1000"
    assert table["paired"].all()
    assert not table.isna().to_numpy().any()


@pytest.mark.parametrize("metric", METRICS)
def test_the_paired_statistics_follow_from_the_table(metric):
    outcomes = results()
    costs = dict.fromkeys(NAMES, COST)
    rows = contrasts(PLAN, outcomes, costs, {}, (*SCORES, *GAPS))
    for arm, pairs in seed_scores(PLAN, outcomes).groupby("arm"):
        (row,) = rows[(rows["arm"] == arm) & (rows["metric"] == metric)].to_dict("records")
        test = stats.ttest_rel(pairs[metric], pairs[f"reference_{metric}"])
        assert row["difference"] == pytest.approx(
            (pairs[metric] - pairs[f"reference_{metric}"]).mean()
        )
        assert row["p"] == pytest.approx(test.pvalue)


@pytest.mark.parametrize(
    ("states", "machines"),
    [
        ({"onedropout1001": "failed"}, {}),
        ({"baseline1001": "missing"}, {}),
        ({}, {"onedropout1001": {"device": "cuda"}}),
    ],
)
def test_a_seed_that_counts_in_no_contrast_is_not_paired(states, machines):
    table = seed_scores(PLAN, results(states, machines))
    dropout = table[table["arm"] == "dropout"]
    assert dropout["paired"].tolist() == [True, False, True]


def test_every_seed_has_its_time_to_target_and_that_of_its_reference():
    times = {"onedropout1000": 20.0, "baseline1000": np.inf}
    of_runs = pd.DataFrame({"fingerprint": list(times), "updates": list(times.values())})
    table = with_targets(seed_scores(PLAN, results()), of_runs.assign(flops=of_runs["updates"] * 3))
    first = table.iloc[0]
    assert (first["updates_to_target"], first["flops_to_target"]) == (20, 60)
    assert first["reference_updates_to_target"] == np.inf
    assert table["updates_to_target"].isna().sum() == 5


def test_a_run_without_scores_has_none():
    outcomes = results()
    scored = {key: value for key, value in outcomes.scores.items() if key[0] != "onedropout1001"}
    object.__setattr__(outcomes, "scores", scored)
    table = seed_scores(PLAN, outcomes)
    lost = table[table["fingerprint"] == "onedropout1001"]
    assert lost["test_accuracy"].isna().all()
    assert lost["reference_test_accuracy"].notna().all()
