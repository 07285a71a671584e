"""Time to target: times of runs, medians with their intervals, and rank tests.

Interpolation between points of a curve, runs that never reach the target, diverge or have not
ended, the interval of a median from order statistics, and the rank test with ties and its
correction.
"""

from math import inf, isnan

import numpy as np
import pandas as pd
import pytest
from report_data import planned
from scipy import stats

from pipeline.comparison import targets
from pipeline.comparison.targets import COLUMNS, RUNS, time_to_target, times

FLOPS_PER_UPDATE = 100
COST = {"cost": {"training_flops": 30.0 * FLOPS_PER_UPDATE, "updates": 30}}
POINTS = (10, 20, 30)  # updates at the points of a curve

REACHES_AT_20 = (0.5, 0.9)
REACHES_AT_10 = (0.9, 0.9)


@pytest.fixture
def plan():
    """Return a plan with three runs of a baseline and of the arms `a` and `b`."""
    return planned("confirmation", {"one": {"a": "deterministic", "b": "deterministic"}})


@pytest.fixture
def costs(plan):
    """Return the records of all runs, with what they cost."""
    return dict.fromkeys(plan.fingerprints(), COST)


def history(accuracies):
    """Return the curve of a run with these validation accuracies; it has learned all it trains."""
    rows = []
    for updates, accuracy in zip(POINTS, accuracies, strict=False):
        rows.append({"updates": updates, "split": "train", "accuracy": 1.0})
        rows.append({"updates": updates, "split": "validation", "accuracy": accuracy})
    return rows


def fingerprints(plan, arm):
    """Return the runs of an arm, in the order of the seeds."""
    return [run.fingerprint for run in plan.runs if run.arm == arm]


def histories(plan, **curves_of_arms):
    """Return curves by run, given the validation accuracies of each seed of an arm."""
    by_run = {}
    for arm, curves in curves_of_arms.items():
        for run, accuracies in zip(fingerprints(plan, arm), curves, strict=True):
            by_run[run] = history(accuracies)
    return by_run


def arm_table(plan, run_times):
    return time_to_target(plan, run_times).set_index("arm")


# Times of runs


@pytest.fixture
def crossing(plan, costs):
    """Return times where the final accuracies of the baseline are 0.8, 0.7 and 0.9: target 0.8."""
    curves = histories(
        plan,
        baseline=[(0.5, 0.7, 0.8), (0.5, 0.9, 0.7), (0.1, 0.2, 0.9)],
        a=[(0.8, 0.1, 0.1), (0.4, 0.6, 1.0), (0.1, 0.2, 0.79)],
    )
    return times(plan, curves, costs)


def test_the_target_is_the_median_final_accuracy_of_the_baseline(crossing):
    assert tuple(crossing.columns) == RUNS
    assert set(crossing["target"]) == {0.8}


def test_a_run_reaches_the_target_between_two_points_of_its_curve(crossing):
    updates = crossing.groupby("arm")["updates"].agg(list)
    at_the_end = 30
    between_10_and_20 = 10 + 10 * (0.8 - 0.5) / (0.9 - 0.5)
    between_20_and_30 = 20 + 10 * (0.8 - 0.2) / (0.9 - 0.2)
    expected = [at_the_end, between_10_and_20, between_20_and_30]
    assert updates["baseline"] == pytest.approx(expected)


def test_a_run_reaches_the_target_at_its_first_point_or_never(crossing):
    first, middle, last = crossing.loc[crossing["arm"] == "a", "updates"]
    assert first == 10
    assert middle == 20 + 10 * (0.8 - 0.6) / (1.0 - 0.6)
    assert last == inf


def test_operations_are_the_share_of_the_updates(crossing):
    assert (crossing["flops"] == FLOPS_PER_UPDATE * crossing["updates"]).all()


def test_an_arm_has_the_median_of_its_runs(plan, crossing):
    table = arm_table(plan, crossing)
    assert list(table.index) == ["baseline", "a"]  # b has no curve
    expected = [3, 2, 25, 25 * FLOPS_PER_UPDATE]
    assert table.loc["a", ["n", "reached", "updates", "flops"]].to_list() == expected


def test_three_runs_have_no_interval_and_the_baseline_no_test(plan, crossing):
    table = arm_table(plan, crossing)
    assert isnan(table.loc["a", "updates_low"])
    assert isnan(table.loc["baseline", "p"])


def test_a_run_that_diverged_never_reaches_the_target(plan, costs):
    """It has no curve; its arm is not as fast as the runs that are left."""
    curves = histories(plan, baseline=[REACHES_AT_20] * 3, a=[REACHES_AT_10] * 3)
    diverged = fingerprints(plan, "a")[-1]
    del curves[diverged]
    records = costs | {diverged: {"state": "diverged", "cost": {}}}
    run_times = times(plan, curves, records)
    time = run_times.set_index("fingerprint").loc[diverged]
    assert (time["updates"], time["flops"]) == (inf, inf)
    expected = [3, 2, 10]
    assert arm_table(plan, run_times).loc["a", ["n", "reached", "updates"]].to_list() == expected


def test_a_run_that_has_not_ended_is_in_no_table(plan, costs):
    curves = histories(plan, baseline=[REACHES_AT_20] * 3)
    pending = fingerprints(plan, "b")[-1]
    run_times = times(plan, curves, costs | {pending: {}})
    assert pending not in set(run_times["fingerprint"])


def test_without_a_curve_of_the_baseline_the_tables_are_empty(plan):
    run_times = times(plan, histories(plan, a=[(0.5,)] * 3), {})
    assert run_times.empty
    table = time_to_target(plan, run_times)
    assert table.empty
    assert tuple(table.columns) == COLUMNS


# Medians


@pytest.mark.parametrize(
    ("n", "cut"),
    [
        pytest.param(6, 0, id="6-runs-smallest-to-largest"),
        pytest.param(9, 1, id="9-runs-without-one-at-each-end"),
        pytest.param(12, 2, id="12-runs-without-two"),
        pytest.param(20, 5, id="20-runs-without-five"),
    ],
)
def test_the_interval_of_a_median_is_that_of_order_statistics(n, cut):
    """The narrowest with at least 95 %: a binomial number of runs is below the true median."""

    def coverage(cut):
        return 1 - 2 * stats.binom.cdf(cut, n, 0.5)

    ranks = np.random.default_rng(n).permutation(np.arange(float(n)))
    median, low, high = targets._median(ranks)
    assert median == np.median(ranks)
    assert (low, high) == (cut, n - 1 - cut)
    assert coverage(cut) >= 0.95 > coverage(cut + 1)


def test_five_runs_are_too_few_for_an_interval_of_the_median():
    median, low, high = targets._median(np.array([3.0, 1.0, 2.0, 5.0, 4.0]))
    assert median == 3
    assert isnan(low)
    assert isnan(high)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([1, 2, 3, inf, inf], 3, id="less-than-half"),
        pytest.param([1, 2, inf, inf], inf, id="half"),
    ],
)
def test_infinite_times_move_a_median_once_half_the_runs_have_them(values, expected):
    median, *_ = targets._median(np.array(values))
    assert median == expected


def test_infinite_times_can_be_the_upper_bound_of_a_median():
    _, *bounds = targets._median(np.array([1, 2, 3, 4, 5, inf, inf]))
    assert bounds == [1, inf]


# Rank tests


def rank_test(flops, *reference):
    """Return the share of pairs in which an arm is sooner, and p."""
    return targets._rank_test(np.array(flops), pd.DataFrame({"flops": reference}))


def test_the_rank_test_ties_runs_that_never_reach_the_target():
    sooner, p = rank_test([8.0, 9.0, inf, inf], 5.0, 6.0, 7.0, inf)
    arm_ranks, reference_ranks = [4, 5, 7, 7], [1, 2, 3, 7]
    assert p == pytest.approx(stats.mannwhitneyu(arm_ranks, reference_ranks).pvalue)
    pairs, sooner_pairs, tied_pairs = 4 * 4, 2, 2  # each finite time beats, each infinite one ties
    assert sooner == (sooner_pairs + tied_pairs / 2) / pairs


def test_equal_times_have_no_p():
    sooner, p = rank_test([inf, inf], inf)
    assert sooner == 0.5
    assert isnan(p)


def test_without_a_reference_nothing_is_tested():
    sooner, p = targets._rank_test(np.array([1.0]), None)
    assert isnan(sooner)
    assert isnan(p)


def test_rank_tests_are_corrected_over_the_arms_of_a_report(plan, costs):
    curves = histories(
        plan, baseline=[REACHES_AT_20] * 3, a=[REACHES_AT_10] * 3, b=[REACHES_AT_20] * 3
    )
    table = arm_table(plan, times(plan, curves, costs))
    assert isnan(table.loc["baseline", "sooner"])
    assert table.loc[["a", "b"], "sooner"].to_list() == [1, 0.5]
    arms = 2
    tied_p = stats.mannwhitneyu([10, 10, 10], [18, 18, 18]).pvalue  # that of any tied ranks
    assert table.loc["a", "p"] == pytest.approx(tied_p)
    assert table.loc["a", "p_holm"] == pytest.approx(arms * tied_p)
    assert table.loc[["baseline", "b"], "p_holm"].isna().all()  # b: all times are equal
