"""Intervals, equivalence, sign flips and power against scipy, statsmodels and simulation."""

import itertools
import time

import numpy as np
import pytest
from scipy import integrate, special, stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from pipeline.comparison.intervals import (
    correlation,
    detectable,
    interval,
    seeds_needed,
    sign_flip_p,
    signed_rank,
    standard_error,
    total_error,
)
from pipeline.comparison.significance import equivalence_p, t_equivalence_p, t_test_p


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
    assert (found.low, found.high) == pytest.approx(
        tuple(expected.confidence_interval(0.95)), rel=1e-9
    )
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


@pytest.mark.parametrize(
    "values", [np.zeros(4), np.full(4, 0.03), 0.03 + np.array([0, 1e-10, -1e-10])]
)
def test_no_spread_is_no_certainty(values):
    """The last of these differ by what a table of ten digits rounds away."""
    found = interval(values)
    assert found.sd == 0
    assert np.isnan(
        [
            found.low,
            found.high,
            found.p,
            equivalence_p(values, 0.1),
            detectable(found.sd, found.n, 0.05),
        ]
    ).all()


@pytest.mark.parametrize("differences", [[0.1, np.nan, 0.2], [0.1, np.inf], [np.inf, -np.inf]])
def test_a_difference_that_is_not_finite_leaves_everything_undefined(differences):
    found = interval(np.array(differences))
    assert np.isnan([found.low, found.high, found.sd, found.p]).all()
    assert not np.isfinite(found.mean)
    assert np.isnan(equivalence_p(np.array(differences), 0.01))


@pytest.mark.parametrize("margin", [0.005, 0.01, 0.03])
def test_equivalence_agrees_with_statsmodels(pairs, margin):
    baseline, arm = pairs
    assert equivalence_p(arm - baseline, margin) == pytest.approx(
        ttost_paired(arm, baseline, -margin, margin)[0], rel=1e-6
    )


def test_equivalence_takes_the_worse_side():
    differences = 0.009 + np.array([-1, 1, -1, 1]) * 0.001
    worse = stats.ttest_1samp(differences, 0.01).pvalue / 2
    assert equivalence_p(differences, 0.01) == pytest.approx(worse)
    assert equivalence_p(-differences, 0.01) == pytest.approx(worse)
    assert equivalence_p(differences + 0.1, 0.01) > 0.99


TABLED = [(3, 3.26), (5, 1.68), (8, 1.16), (10, 1.00), (15, 0.78), (20, 0.66), (30, 0.53)]
TABLED_AT_TEN = [(5, 3.15), (8, 1.81), (10, 1.48), (20, 0.91)]  # ten comparisons


@pytest.mark.parametrize(
    ("n", "level", "effect"),
    [(n, 0.05, d) for n, d in TABLED] + [(n, 0.005, d) for n, d in TABLED_AT_TEN],
)
def test_detectable_difference_is_the_tabled_effect_times_the_spread(n, level, effect):
    assert detectable(1.0, n, level) == pytest.approx(effect, abs=0.006)
    assert detectable(0.02, n, level) == pytest.approx(0.02 * detectable(1.0, n, level))


@pytest.mark.parametrize("n", [2, 3, 5, 12, 40, 1000])
@pytest.mark.parametrize("comparisons", [1, 12, 100])
def test_detectable_difference_has_eighty_per_cent_power_by_integration(n, comparisons):
    """By the power of statsmodels: its solver gives 5.5 for 3 seeds at 0.05 / 100, of power 4 %."""
    effect, level = detectable(1.0, n, 0.05 / comparisons), 0.05 / comparisons
    assert _power(effect, n, level) == pytest.approx(0.8, abs=2e-4)
    if comparisons == 1 and n > 2:  # its power is undefined for two
        assert float(TTestPower().power(effect, n, level)) == pytest.approx(0.8, abs=2e-5)


def _power(effect, n, level):
    """Return P(T > critical value) for noncentral t, over the measured standard deviations."""
    critical, degrees = special.stdtrit(n - 1, 1 - level / 2), n - 1
    top = stats.chi.isf(1e-13, degrees) / np.sqrt(degrees)

    def above(spread):
        density = stats.chi.pdf(spread * np.sqrt(degrees), degrees) * np.sqrt(degrees)
        return stats.norm.sf(critical * spread - effect * np.sqrt(n)) * density

    step = effect * np.sqrt(n) / critical
    return integrate.quad(above, 0, top, points=[step] if step < top else None, limit=500)[0]


@pytest.mark.parametrize("level", [0.05, 0.05 / 12])
def test_detectable_difference_is_found_four_times_in_five(level):
    draws = np.random.default_rng(6).normal(detectable(1.0, 8, level), 1.0, (20_000, 8))
    assert (stats.ttest_1samp(draws, 0, axis=1).pvalue < level).mean() == pytest.approx(
        0.8, abs=0.01
    )


def test_detectable_difference_of_one_pair_is_undefined():
    assert np.isnan(detectable(float("nan"), 1, 0.05))
    assert np.isnan(detectable(1.0, 1, 0.05))


@pytest.mark.parametrize(
    ("mean", "level"),
    [(0.66, 0.05), (-0.9, 0.05 / 12), (0.1, 0.05), (3.0, 0.05 / 12), (80.0, 0.05)],
)
def test_seeds_needed_is_the_first_number_with_eighty_per_cent_power(mean, level):
    needed = seeds_needed(mean, 1.0, level)
    assert _power(abs(mean), int(needed), level) >= 0.8 - 2e-4
    assert needed == 2 or _power(abs(mean), int(needed) - 1, level) < 0.8
    assert seeds_needed(mean * 0.02, 0.02, level) == needed


def test_seeds_needed_of_the_table():
    assert seeds_needed(1.0, 1.0, 0.05) == 10
    assert seeds_needed(0.54, 1.0, 0.05) == 29
    assert seeds_needed(1.82, 1.0, 0.005) == 8


def test_seeds_that_nobody_has_are_infinitely_many():
    assert seeds_needed(0.03, 1.0, 0.05) == 8723
    assert seeds_needed(0.02, 1.0, 0.05) == np.inf
    assert seeds_needed(0.0, 1.0, 0.05) == np.inf


@pytest.mark.parametrize(
    ("mean", "sd"), [(0.1, 0.0), (0.1, np.nan), (np.nan, np.nan), (np.nan, 1.0)]
)
def test_seeds_needed_where_nothing_varies_is_undefined(mean, sd):
    assert np.isnan(seeds_needed(mean, sd, 0.05))


def flipped(differences):
    """Return two-sided p over all 2^n signs, one after another."""
    signs = np.array([*itertools.product([1, -1], repeat=len(differences))])
    sums = np.abs(signs @ differences)
    return (sums >= abs(differences.sum()) - 1e-6 * np.abs(differences).sum()).mean()


@pytest.mark.parametrize("n", [2, 3, 5, 6, 9, 12])
def test_sign_flips_agree_with_brute_force_and_scipy(n):
    generator = np.random.default_rng(n)
    for differences in (
        generator.normal(0.3, 1, n),
        generator.exponential(1, n) - 0.4,
        generator.integers(-3, 5, n) / 1797,
    ):
        found = sign_flip_p(differences)
        assert found == pytest.approx(flipped(differences), rel=1e-12)
        tested = stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        assert found == pytest.approx(tested.pvalue, rel=1e-12)


@pytest.mark.parametrize(
    ("n", "least"),
    [(3, 0.25), (5, 0.0625), (6, 0.03125), (8, 0.0078125), (9, 0.00390625), (10, 0.001953125)],
)
def test_the_least_p_of_sign_flips_is_two_of_all(n, least):
    assert sign_flip_p(np.random.default_rng(n).uniform(1, 2, n)) == least
    assert sign_flip_p(-np.random.default_rng(n).uniform(1, 2, n)) == least


def test_sign_flips_by_hand():
    """Of the eight sums of 1, 2 and 4, six are at least 1 - 2 + 4 = 3 from 0."""
    assert sign_flip_p(np.array([1.0, -2.0, 4.0])) == 0.75


def test_ties_count_though_sums_of_doubles_differ():
    differences = np.array([0.1, 0.2, -0.3, 0.1, 0.2, 0.4])
    assert sign_flip_p(differences) == flipped((differences * 10).round())
    rounded = (
        np.round(np.array([3, -1, 2, 2, -3, 1, 5, 1]) / 719 + 0.9, 10) - 0.9
    )  # as a table of ten digits has them
    assert sign_flip_p(rounded) == flipped(np.array([3.0, -1, 2, 2, -3, 1, 5, 1]))


def test_sign_flips_do_not_look_at_scale_or_at_pairs_without_a_difference():
    differences = np.random.default_rng(1).normal(0.5, 1, 9)
    assert (
        sign_flip_p(differences * 1e-5)
        == sign_flip_p(differences * 1e5)
        == sign_flip_p(differences)
    )
    assert sign_flip_p(np.append(differences, 0.0)) == sign_flip_p(differences)


def test_equal_differences_have_signs_though_no_spread():
    assert sign_flip_p(np.full(4, 0.03)) == 2 / 2**4
    assert np.isnan(sign_flip_p(np.zeros(4)))
    assert np.isnan(sign_flip_p(np.full(4, 1e-11)))


@pytest.mark.parametrize("differences", [[], [0.2], [0.1, np.nan, 0.3], [0.1, np.inf]])
def test_sign_flips_of_too_little_or_of_no_numbers_are_undefined(differences):
    assert np.isnan(sign_flip_p(np.array(differences)))


def test_forty_differences_are_exact_and_quick_and_more_are_undefined():
    differences = np.random.default_rng(2).normal(0.45, 1, 41)
    begin = time.perf_counter()
    found = sign_flip_p(differences[:40])
    assert time.perf_counter() - begin < 5
    assert found == pytest.approx(interval(differences[:40]).p, rel=0.15)
    assert sign_flip_p(np.full(40, 0.5)) == 2 / 2**40
    assert np.isnan(sign_flip_p(differences))


def test_sign_flips_are_uniform_without_an_effect():
    draws = np.random.default_rng(3).laplace(0, 1, (2000, 8))
    p = np.array([sign_flip_p(row) for row in draws])
    for level in (0.05, 0.25, 0.5):
        exact = np.floor(level * 2**7) / 2**7  # the levels there are, with eight signs
        assert (p <= level).mean() == pytest.approx(
            exact, abs=4 * np.sqrt(exact * (1 - exact) / 2000)
        )


def coverage(draws, truth, bounds):
    """Return the share of rows (reports, n) whose interval holds the truth."""
    found = np.array([bounds(row) for row in draws])
    return ((found[:, 0] <= truth) & (truth <= found[:, 1])).mean()


def student(row):
    found = interval(row)
    return found.low, found.high


@pytest.mark.parametrize(
    ("middle", "excludes"), [(0.3, True), (0.2, False), (-0.2, False), (-0.3, True)]
)
def test_an_interval_excludes_zero_where_the_test_is_significant(middle, excludes):
    found = interval(middle + np.array([-0.1, 0.0, 0.1]))  # half of it is 0.248
    assert found.excludes_zero is excludes
    assert (found.p < 0.05) is excludes


@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.5]])
def test_no_interval_excludes_nothing(values):
    assert interval(np.array(values)).excludes_zero is False


def normal(row):
    """Return what is often printed: 1.96 standard errors, as if the spread were known."""
    half = 1.96 * row.std(ddof=1) / np.sqrt(len(row))
    return row.mean() - half, row.mean() + half


@pytest.mark.parametrize("n", [3, 5, 10, 20])
def test_intervals_cover_the_truth_as_often_as_they_say(n):
    draws = np.random.default_rng(n).normal(0.01, 0.02, (6000, n))
    assert 0.93 <= coverage(draws, 0.01, student) <= 0.97
    assert coverage(draws, 0.01, normal) < (0.93 if n < 20 else 0.945)


@pytest.mark.parametrize(("n", "stated"), [(3, 0.89), (5, 0.88), (10, 0.90), (20, 0.92)])
def test_intervals_of_skewed_differences_cover_less_as_the_docstring_states(n, stated):
    draws = np.random.default_rng(n).exponential(1, (20_000, n))
    assert coverage(draws, 1, student) == pytest.approx(stated, abs=0.012)
    assert f"{stated:.0%}".replace("%", " %") in " ".join(interval.__doc__.split())


def test_a_pair_of_equally_skewed_scores_has_a_symmetric_difference():
    """What pairing does for the interval: it covers at least as often as it says."""
    baseline, arm = np.random.default_rng(4).exponential(1, (2, 6000, 8))
    assert 0.935 <= coverage(arm - baseline, 0, student) <= 0.98


def test_correlation():
    rising = np.array([1.0, 2.0, 4.0])
    assert correlation(rising, -rising) == pytest.approx(-1)
    assert correlation(rising, np.array([2.0, 1.0, 5.0])) == pytest.approx(
        np.corrcoef(rising, [2, 1, 5])[0, 1]
    )
    assert np.isnan(correlation(rising, np.full(3, 0.9)))
    assert np.isnan(correlation(rising[:1], rising[:1]))


def right_or_wrong(generator: np.random.Generator, seeds: int, images: int) -> np.ndarray:
    """Return differences (seeds, images) of being right: -1, 0 or 1.

    Seeds differ in skill, images in difficulty, and single predictions by chance.
    """
    skill = generator.normal(0, 0.02, (2, seeds, 1)) + np.array([0.0, 0.03]).reshape(2, 1, 1)
    ease = generator.normal(0.8, 0.1, (1, 1, images)) + generator.normal(0, 0.06, (2, 1, images))
    reference, arm = generator.random((2, seeds, images)) < skill + ease
    return arm.astype(float) - reference


def error_of(differences: np.ndarray) -> float:
    means = differences.mean(axis=1)
    images = differences.mean(axis=0)
    disagreement = float(np.square(differences).mean())
    return total_error(standard_error(means), images, disagreement, len(differences))


def test_the_total_error_is_the_spread_over_fresh_seeds_and_other_images():
    generator = np.random.default_rng(3)
    drawn = [right_or_wrong(generator, 12, 200) for _ in range(2000)]
    spread = np.std([differences.mean() for differences in drawn])
    variances = np.square([error_of(differences) for differences in drawn])
    of_seeds = np.square([standard_error(differences.mean(axis=1)) for differences in drawn])
    of_images = np.square([standard_error(differences.mean(axis=0)) for differences in drawn])
    bootstrap = 2 * (of_seeds + of_images) - variances  # as the next test shows
    assert np.sqrt(variances.mean()) / spread == pytest.approx(1.02, abs=0.05)
    assert np.sqrt(of_seeds.mean()) < 0.95 * spread
    assert np.sqrt(bootstrap.mean()) > 1.3 * spread


def test_the_total_error_is_that_of_a_bootstrap_which_counts_the_interaction_three_times():
    """A bootstrap of n - 1 seeds and N - 1 images, by brute force."""
    generator = np.random.default_rng(4)
    differences = right_or_wrong(generator, 6, 60)
    rows, columns = (
        generator.integers(6, size=(20_000, 5)),
        generator.integers(60, size=(20_000, 59)),
    )
    means = [differences[row][:, column].mean() for row, column in zip(rows, columns, strict=True)]
    of_seeds = standard_error(differences.mean(axis=1)) ** 2
    of_images = standard_error(differences.mean(axis=0)) ** 2
    single = of_seeds + of_images - error_of(differences) ** 2
    assert single > 0
    assert np.var(means) == pytest.approx(of_seeds + of_images + single, rel=0.04)


def test_the_total_error_subtracts_the_interaction_of_an_analysis_of_variance_once():
    """Also where the mean difference is large: its square is no interaction."""
    generator = np.random.default_rng(5)
    arm, other = (generator.random((6, 50)) < share for share in (0.8, 0.4))
    differences = arm.astype(float) - other
    seeds, images = differences.mean(axis=1), differences.mean(axis=0)
    rest = differences - seeds[:, None] - images + differences.mean()
    single = np.square(rest).sum() / (5 * 49) / (6 * 50)
    expected = seeds.var(ddof=1) / 6 + images.var(ddof=1) / 50 - single
    error = standard_error(seeds)
    assert expected > max(error**2, standard_error(images) ** 2)
    total = total_error(error, images, np.square(differences).mean(), 6)
    assert total == pytest.approx(np.sqrt(expected))


def test_the_total_error_is_never_below_that_of_seeds_or_of_images():
    images = np.array([0.1, -0.1, 0.2, 0.0])
    assert total_error(0.05, images, 100.0, 3) == pytest.approx(max(0.05, standard_error(images)))
    assert np.isnan(total_error(np.nan, images, 0.1, 1))
    assert np.isnan(total_error(0.1, images[:1], 0.1, 3))


def test_tests_with_given_errors_agree_with_those_of_the_differences(pairs):
    differences = pairs[1] - pairs[0]
    found = interval(differences)
    given = [np.array([number]) for number in (found.mean, standard_error(differences), 14.0)]
    assert t_test_p(*given)[0] == pytest.approx(found.p)
    assert t_equivalence_p(*given, 0.02)[0] == pytest.approx(equivalence_p(differences, 0.02))
    assert np.isnan(t_test_p(given[0], np.zeros(1), given[2])).all()
    assert np.isnan(t_equivalence_p(given[0], np.zeros(1), given[2], 0.02)).all()


@pytest.mark.parametrize("n", [6, 9, 12, 20])
def test_signed_ranks_are_those_of_scipy_and_their_interval_is_the_inverted_test(n):
    values = np.random.default_rng(n).normal(0.4, 1, n)
    estimate, low, high, p = signed_rank(values)
    assert p == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)
    means = [(one + two) / 2 for one, two in itertools.combinations_with_replacement(values, 2)]
    assert estimate == pytest.approx(np.median(means))
    for bound, inside in ((low, 1e-9), (high, -1e-9)):
        assert stats.wilcoxon(values - bound - inside, method="exact").pvalue > 0.05
        assert stats.wilcoxon(values - bound + inside, method="exact").pvalue <= 0.05


def test_signed_ranks_with_ties_and_zeros_enumerate_all_signs():
    values = np.array([0.0, 0.0, 1.0, 1.0, 2.0, -1.0, 3.0])
    ranks = stats.rankdata(np.abs(values))[2:]
    sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=5)]
    found = ranks[values[2:] > 0].sum()
    assert signed_rank(values)[3] == pytest.approx(2 * np.mean([one >= found for one in sums]))
    assert np.isnan(signed_rank(np.zeros(4))[3])
    assert np.isnan(signed_rank(values[:5])[1])
    assert np.isnan(signed_rank(np.array([]))).all()
