"""Intervals, equivalence and power against scipy, statsmodels, published values and simulation."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from pipeline.comparison.intervals import correlation, detectable, equivalence_p, interval


@pytest.fixture
def pairs():
    generator = np.random.default_rng(5)
    baseline = generator.normal(0.88, 0.02, 15)
    return baseline, baseline + generator.normal(0.01, 0.015, 15)


def test_interval_agrees_with_the_paired_t_test(pairs):
    baseline, arm = pairs
    expected = stats.ttest_rel(arm, baseline)
    found = interval(arm - baseline)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-9)
    assert (found.mean, found.sd, found.n) == (
        pytest.approx((arm - baseline).mean()),
        pytest.approx((arm - baseline).std(ddof=1)),
        15,
    )


def test_interval_by_hand():
    found = interval(np.array([1.0, 2.0, 3.0]))
    half = 4.302652729911275 / np.sqrt(3)  # the 97.5 % point of t with 2 degrees of freedom
    assert (found.mean, found.sd, found.n) == (2.0, 1.0, 3)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
    assert found.p == pytest.approx(stats.ttest_1samp([1.0, 2.0, 3.0], 0).pvalue)


def test_pairing_narrows_what_correlated_scores_say(pairs):
    baseline, arm = pairs
    assert interval(arm - baseline).p < stats.ttest_ind(arm, baseline).pvalue


@pytest.mark.parametrize("differences", [[], [0.02]])
def test_fewer_than_two_pairs_have_no_interval(differences):
    found = interval(np.array(differences))
    assert found.n == len(differences)
    assert np.isnan([found.low, found.high, found.sd, found.p]).all()
    assert found.mean == pytest.approx(0.02) if differences else np.isnan(found.mean)
    assert np.isnan(equivalence_p(np.array(differences), 0.01))


@pytest.mark.parametrize("values", [np.zeros(4), np.full(4, 0.03), 0.03 + np.array([0, 1e-10, -1e-10])])
def test_no_spread_is_no_certainty(values):
    """The last of these differ by what a table of ten digits rounds away."""
    found = interval(values)
    assert found.sd == 0
    assert np.isnan([found.low, found.high, found.p, equivalence_p(values, 0.1), detectable(found.sd, found.n)]).all()


def test_a_score_that_is_no_number_leaves_everything_undefined():
    found = interval(np.array([0.1, np.nan, 0.2]))
    assert np.isnan([found.mean, found.low, found.high, found.sd, found.p]).all()


@pytest.mark.parametrize("margin", [0.005, 0.01, 0.03])
def test_equivalence_agrees_with_statsmodels(pairs, margin):
    baseline, arm = pairs
    assert equivalence_p(arm - baseline, margin) == pytest.approx(ttost_paired(arm, baseline, -margin, margin)[0], rel=1e-6)


def test_equivalence_takes_the_worse_side():
    differences = 0.009 + np.array([-1, 1, -1, 1]) * 0.001
    worse = stats.ttest_1samp(differences, 0.01).pvalue / 2
    assert equivalence_p(differences, 0.01) == pytest.approx(worse)
    assert equivalence_p(-differences, 0.01) == pytest.approx(worse)
    assert equivalence_p(differences + 0.1, 0.01) > 0.99


@pytest.mark.parametrize(("n", "effect"), [(3, 3.26), (5, 1.68), (8, 1.16), (10, 1.00), (15, 0.78), (20, 0.66), (30, 0.53)])
def test_detectable_difference_is_the_tabled_effect_times_the_spread(n, effect):
    assert detectable(1.0, n) == pytest.approx(effect, abs=0.006)
    assert detectable(0.02, n) == pytest.approx(0.02 * detectable(1.0, n))


def test_detectable_difference_is_found_four_times_in_five():
    draws = np.random.default_rng(6).normal(detectable(1.0, 8), 1.0, (20_000, 8))
    assert (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.01)


def test_detectable_difference_of_one_pair_is_undefined():
    assert np.isnan(detectable(float("nan"), 1))


@pytest.mark.parametrize("n", [3, 5])
def test_intervals_cover_the_truth_as_often_as_they_say(n):
    draws = np.random.default_rng(n).normal(0.01, 0.02, (1000, n))
    found = [interval(row) for row in draws]
    assert np.mean([each.low <= 0.01 <= each.high for each in found]) == pytest.approx(0.95, abs=0.02)


def test_correlation():
    rising = np.array([1.0, 2.0, 4.0])
    assert correlation(rising, -rising) == pytest.approx(-1)
    assert correlation(rising, np.array([2.0, 1.0, 5.0])) == pytest.approx(np.corrcoef(rising, [2, 1, 5])[0, 1])
    assert np.isnan(correlation(rising, np.full(3, 0.9)))
    assert np.isnan(correlation(rising[:1], rising[:1]))
