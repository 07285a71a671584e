"""Time to target: by hand, with runs that never get there."""

from math import inf, isnan

import numpy as np
import pandas as pd
import pytest
from report_data import planned
from scipy import stats

from pipeline.comparison import targets
from pipeline.comparison.targets import COLUMNS, RUNS, time_to_target, times

COST = {"cost": {"training_flops": 3000.0, "updates": 30}}


@pytest.fixture
def plan():
    return planned("confirmation", {"one": {"a": "deterministic", "b": "deterministic"}})


def curve(*accuracies):
    return [
        {"updates": 10 * number, "split": split, "accuracy": value if split != "train" else 1.0}
        for number, value in enumerate(accuracies, 1)
        for split in ("train", "validation")
    ]


def histories(plan, **arms):
    """Return the curves of arms, one for each seed in the order of the plan."""
    given = {arm: iter(curves) for arm, curves in arms.items()}
    return {run.fingerprint: curve(*next(given[run.arm])) for run in plan.runs if run.arm in given}


def test_a_run_reaches_the_median_end_of_the_baseline_between_two_points(plan):
    of_runs = times(
        plan,
        histories(
            plan,
            baseline=[(0.5, 0.7, 0.8), (0.5, 0.9, 0.7), (0.1, 0.2, 0.9)],
            a=[(0.8, 0.1, 0.1), (0.4, 0.6, 1.0), (0.1, 0.2, 0.79)],
        ),
        dict.fromkeys(plan.fingerprints(), COST),
    )
    assert tuple(of_runs.columns) == RUNS
    assert set(of_runs["target"]) == {0.8}
    by_arm = {arm: rows["updates"].tolist() for arm, rows in of_runs.groupby("arm")}
    assert by_arm["baseline"] == pytest.approx([30, 17.5, 20 + 10 * 6 / 7])
    assert by_arm["a"] == [10, 25, inf]
    assert (of_runs["flops"] == 100 * of_runs["updates"]).all()
    table = time_to_target(plan, of_runs).set_index("arm")
    assert list(table.index) == ["baseline", "a"]  # b has no curve
    assert table.loc["a", ["n", "reached", "updates", "flops"]].to_list() == [3, 2, 25, 2500]
    assert isnan(table.loc["a", "updates_low"])  # of three runs
    assert isnan(table.loc["baseline", "p"])


def test_a_run_that_diverges_never_reaches_the_target(plan):
    """It has no curve, and is no reason to call its arm as fast as the runs that are left."""
    done = histories(plan, baseline=[(0.5, 0.9)] * 3, a=[(0.9, 0.9)] * 3)
    *_, lost = (run.fingerprint for run in plan.runs if run.arm == "a")
    *_, pending = (run.fingerprint for run in plan.runs if run.arm == "b")
    del done[lost]
    records = {name: {"state": "done", **COST} for name in plan.fingerprints()}
    records |= {lost: {"state": "diverged", "cost": {}}, pending: {}}
    of_runs = times(plan, done, records).set_index("fingerprint")
    assert of_runs.loc[lost, ["updates", "flops"]].to_list() == [inf, inf]
    assert pending not in of_runs.index
    table = time_to_target(plan, of_runs.reset_index()).set_index("arm")
    assert table.loc["a", ["n", "reached", "updates"]].to_list() == [3, 2, 10]


def test_no_baseline_with_a_curve_is_an_empty_table(plan):
    of_runs = times(plan, histories(plan, a=[(0.5,)] * 3), {})
    assert of_runs.empty
    table = time_to_target(plan, of_runs)
    assert table.empty
    assert tuple(table.columns) == COLUMNS


@pytest.mark.parametrize(("n", "cut"), [(5, None), (6, 0), (9, 1), (12, 2), (20, 5)])
def test_the_interval_of_a_median_is_that_of_order_statistics(n, cut):
    values = np.random.default_rng(n).permutation(np.arange(float(n)))
    median, low, high = targets._median(values)
    assert median == np.median(values)
    if cut is None:
        assert isnan(low)
        assert isnan(high)
    else:
        assert (low, high) == (cut, n - 1 - cut)
        assert (
            1 - 2 * stats.binom.cdf(cut, n, 0.5) >= 0.95 > 1 - 2 * stats.binom.cdf(cut + 1, n, 0.5)
        )


def test_infinite_times_move_a_median_only_once_half_the_runs_have_them():
    assert targets._median(np.array([1, 2, 3, inf, inf]))[0] == 3
    assert targets._median(np.array([1, 2, inf, inf]))[0] == inf
    assert targets._median(np.array([1, 2, 3, 4, 5, inf, inf]))[1:] == (1, inf)


def test_the_rank_test_ties_runs_that_never_reach_the_target():
    reference = pd.DataFrame({"flops": [5.0, 6.0, 7.0, inf]})
    sooner, p = targets._rank_test(np.array([8.0, 9.0, inf, inf]), reference)
    ranked = [4, 5, 7, 7], [1, 2, 3, 7]
    assert p == pytest.approx(stats.mannwhitneyu(*ranked).pvalue)
    assert sooner == (1 + 1 + 0.5 + 0.5) / 16
    tied = targets._rank_test(np.array([inf, inf]), pd.DataFrame({"flops": [inf]}))
    assert tied == (0.5, pytest.approx(np.nan, nan_ok=True))
    assert all(isnan(value) for value in targets._rank_test(np.array([1.0]), None))


def test_the_rank_tests_of_a_report_are_a_family_of_their_own(plan):
    of_runs = times(
        plan,
        histories(plan, baseline=[(0.5, 0.9)] * 3, a=[(0.9, 0.9)] * 3, b=[(0.5, 0.9)] * 3),
        dict.fromkeys(plan.fingerprints(), COST),
    )
    table = time_to_target(plan, of_runs).set_index("arm")
    assert table["sooner"].fillna(-1).to_list() == [-1, 1, 0.5]
    assert table.loc["a", "p_holm"] == pytest.approx(2 * table.loc["a", "p"])
    assert table.loc[["baseline", "b"], "p_holm"].isna().all()  # b: all times are equal
