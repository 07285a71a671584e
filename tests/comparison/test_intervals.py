"""Intervals, equivalence, power, sign flips and signed ranks of a few paired differences.

Expected numbers come from scipy and statsmodels, from enumeration of all signs, from numerical
integration, and from simulation where a rate is claimed: coverage of intervals, power of detectable
differences, uniform p, and the spread over fresh seeds and other test images.
"""

import itertools
import math
import time

import numpy as np
import pytest
from scipy import integrate, special, stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from pipeline.comparison.intervals import (
    MOST_SEEDS,
    MOST_SIGNS,
    correlation,
    detectable,
    interval,
    seeds_needed,
    sign_flip_p,
    signed_rank,
    signed_rank_seeds,
    standard_error,
    total_error,
)
from pipeline.comparison.significance import equivalence_p, t_equivalence_p, t_test_p

LEVEL = 0.05
POWER = 0.8
ROUNDING = 1e-10  # what a table of ten digits rounds away


@pytest.fixture
def pairs():
    """Return the scores of a baseline and of an arm that correlate over 15 seeds."""
    generator = np.random.default_rng(5)
    baseline = generator.normal(0.88, 0.02, 15)
    return baseline, baseline + generator.normal(0.01, 0.015, 15)


# Student's t


def test_the_interval_is_that_of_the_paired_t_test(pairs):
    baseline, arm = pairs
    differences = arm - baseline
    expected = stats.ttest_rel(arm, baseline)
    low, high = expected.confidence_interval(0.95)
    estimate = interval(differences)
    assert estimate.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=1e-9)
    assert estimate.mean == pytest.approx(differences.mean())
    assert estimate.sd == pytest.approx(differences.std(ddof=1))
    assert estimate.n == len(differences)


def test_the_interval_of_three_differences_by_hand():
    """The quantile of t with two degrees of freedom has a closed form."""
    share = 0.975
    quantile = (2 * share - 1) / np.sqrt(2 * share * (1 - share))
    half = quantile * 1 / np.sqrt(3)  # standard deviation 1
    estimate = interval(np.array([1.0, 2.0, 3.0]))
    assert (estimate.mean, estimate.sd, estimate.n) == (2.0, 1.0, 3)
    assert (estimate.low, estimate.high) == pytest.approx((2 - half, 2 + half))
    assert estimate.p == pytest.approx(stats.ttest_1samp([1.0, 2.0, 3.0], 0).pvalue)


def test_pairing_finds_more_in_correlated_scores(pairs):
    baseline, arm = pairs
    assert interval(arm - baseline).p < stats.ttest_ind(arm, baseline).pvalue


@pytest.mark.parametrize(
    "differences", [pytest.param([], id="no-pair"), pytest.param([0.02], id="one-pair")]
)
def test_fewer_than_two_pairs_have_no_interval(differences):
    estimate = interval(np.array(differences))
    assert estimate.n == len(differences)
    assert np.isnan([estimate.low, estimate.high, estimate.sd, estimate.p]).all()
    mean = differences[0] if differences else math.nan
    assert estimate.mean == pytest.approx(mean, nan_ok=True)
    assert np.isnan(equivalence_p(np.array(differences), 0.01))


@pytest.mark.parametrize(
    "differences",
    [
        pytest.param(np.zeros(4), id="zeros"),
        pytest.param(np.full(4, 0.03), id="equal"),
        pytest.param(0.03 + ROUNDING * np.array([0, 1, -1]), id="equal-up-to-rounding"),
    ],
)
def test_differences_without_spread_have_no_interval_and_no_p(differences):
    estimate = interval(differences)
    assert estimate.sd == 0
    assert np.isnan([estimate.low, estimate.high, estimate.p]).all()
    assert np.isnan(equivalence_p(differences, 0.1))
    assert np.isnan(detectable(estimate.sd, estimate.n, LEVEL))


@pytest.mark.parametrize(
    "differences",
    [
        pytest.param([0.1, np.nan, 0.2], id="nan"),
        pytest.param([0.1, np.inf], id="infinite"),
        pytest.param([np.inf, -np.inf], id="both-infinities"),
    ],
)
def test_a_difference_that_is_not_finite_leaves_everything_undefined(differences):
    estimate = interval(np.array(differences))
    assert np.isnan([estimate.low, estimate.high, estimate.sd, estimate.p]).all()
    assert not np.isfinite(estimate.mean)
    assert np.isnan(equivalence_p(np.array(differences), 0.01))


@pytest.mark.parametrize(
    ("mean", "excludes"), [(0.3, True), (0.2, False), (-0.2, False), (-0.3, True)]
)
def test_an_interval_excludes_zero_where_the_test_is_significant(mean, excludes):
    differences = mean + np.array([-0.1, 0.0, 0.1])
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert (abs(mean) > half) == excludes
    estimate = interval(differences)
    assert estimate.excludes_zero is excludes
    assert (estimate.p < LEVEL) is excludes


@pytest.mark.parametrize("differences", [[], [0.5], [0.5, 0.5]])
def test_without_an_interval_zero_is_not_excluded(differences):
    assert interval(np.array(differences)).excludes_zero is False


# Equivalence


@pytest.mark.parametrize("margin", [0.005, 0.01, 0.03])
def test_equivalence_is_that_of_statsmodels(pairs, margin):
    baseline, arm = pairs
    expected, *_ = ttost_paired(arm, baseline, -margin, margin)
    assert equivalence_p(arm - baseline, margin) == pytest.approx(expected, rel=1e-6)


def test_equivalence_takes_the_worse_side():
    margin = 0.01
    differences = 0.009 + 0.001 * np.array([-1, 1, -1, 1])
    worse = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    assert equivalence_p(differences, margin) == pytest.approx(worse)
    assert equivalence_p(-differences, margin) == pytest.approx(worse)
    beyond_the_margin = differences + 10 * margin
    assert equivalence_p(beyond_the_margin, margin) > 0.99


# Detectable differences


def power_by_integration(effect, n, level):
    """Return P(T > critical value) for noncentral t with n - 1 degrees of freedom.

    Given the measured standard deviation, the mean is normal; this integrates over its chi
    distribution.

    Args:
        effect: The true mean over the true standard deviation.
        n: The number of differences.
        level: The level of the two-sided test.
    """
    freedom = n - 1
    spreads = stats.chi(freedom, scale=1 / np.sqrt(freedom))  # of measured standard deviations
    critical = special.stdtrit(freedom, 1 - level / 2)
    shift = effect * np.sqrt(n)

    def significant(spread):
        return stats.norm.sf(critical * spread - shift) * spreads.pdf(spread)

    largest_spread = spreads.isf(1e-13)
    step = shift / critical  # where significance becomes unlikely
    points = [step] if step < largest_spread else None
    power, _ = integrate.quad(significant, 0, largest_spread, points=points, limit=500)
    return power


@pytest.mark.parametrize("n", [3, 5, 8, 10, 12, 15, 20, 30, 40, 1000])  # undefined for two
def test_a_detectable_difference_has_the_power_of_statsmodels(n):
    power = TTestPower().power(detectable(1.0, n, LEVEL), n, LEVEL)
    assert float(power) == pytest.approx(POWER, abs=2e-5)


def test_a_detectable_difference_is_proportional_to_the_spread():
    assert detectable(0.02, 8, LEVEL) == pytest.approx(0.02 * detectable(1.0, 8, LEVEL))


@pytest.mark.parametrize("n", [2, 3, 5, 8, 12, 40, 1000])
@pytest.mark.parametrize("comparisons", [1, 10, 12, 100])
def test_a_detectable_difference_has_the_power_by_integration(n, comparisons):
    """Also at small levels, where the solver of statsmodels stops at a power of 4 %."""
    level = LEVEL / comparisons
    effect = detectable(1.0, n, level)
    assert power_by_integration(effect, n, level) == pytest.approx(POWER, abs=2e-4)


@pytest.mark.parametrize("comparisons", [1, 12])
def test_a_detectable_difference_is_found_four_times_in_five(comparisons):
    n, level = 8, LEVEL / comparisons
    effect = detectable(1.0, n, level)
    draws = np.random.default_rng(6).normal(effect, 1.0, (20_000, n))
    p = stats.ttest_1samp(draws, 0, axis=1).pvalue
    assert (p < level).mean() == pytest.approx(POWER, abs=0.01)


@pytest.mark.parametrize("sd", [math.nan, 1.0])
def test_the_detectable_difference_of_one_pair_is_undefined(sd):
    assert np.isnan(detectable(sd, 1, LEVEL))


# Seeds needed


@pytest.mark.parametrize(
    ("mean", "level"),
    [
        pytest.param(0.66, LEVEL, id="usual"),
        pytest.param(-0.9, LEVEL / 12, id="negative"),
        pytest.param(0.1, LEVEL, id="small"),
        pytest.param(1.0, LEVEL, id="one-standard-deviation"),
        pytest.param(1.82, LEVEL / 10, id="ten-comparisons"),
        pytest.param(3.0, LEVEL / 12, id="large"),
        pytest.param(80.0, LEVEL, id="two-seeds-are-enough"),
    ],
)
def test_seeds_needed_is_the_first_number_with_the_power(mean, level):
    needed = int(seeds_needed(mean, 1.0, level))
    assert power_by_integration(abs(mean), needed, level) >= POWER - 2e-4
    if needed > 2:  # the fewest that have a standard deviation
        assert power_by_integration(abs(mean), needed - 1, level) < POWER


def test_seeds_needed_depends_on_the_ratio_of_mean_and_spread():
    assert seeds_needed(0.66 * 0.02, 0.02, LEVEL) == seeds_needed(0.66, 1.0, LEVEL)


def normal_seeds(effect):
    """Return the number of seeds by the normal approximation, with its correction for t."""
    critical = stats.norm.ppf(1 - LEVEL / 2)
    return ((critical + stats.norm.ppf(POWER)) / effect) ** 2 + critical**2 / 2


def test_thousands_of_seeds_are_as_many_as_the_normal_approximation_has():
    effect = 0.03
    assert normal_seeds(effect) < MOST_SEEDS
    assert seeds_needed(effect, 1.0, LEVEL) == math.ceil(normal_seeds(effect))


@pytest.mark.parametrize("effect", [0.02, 0.0])
def test_more_seeds_than_anybody_has_are_infinitely_many(effect):
    assert effect == 0 or normal_seeds(effect) > MOST_SEEDS
    assert seeds_needed(effect, 1.0, LEVEL) == np.inf


@pytest.mark.parametrize(
    ("mean", "sd"), [(0.1, 0.0), (0.1, np.nan), (np.nan, np.nan), (np.nan, 1.0)]
)
def test_seeds_needed_is_undefined_without_a_mean_and_a_spread(mean, sd):
    assert np.isnan(seeds_needed(mean, sd, LEVEL))


# Sign flips


def enumerated_p(differences):
    """Return the two-sided p over all 2^n signs, one after another."""
    signs = np.array(list(itertools.product([1, -1], repeat=len(differences))))
    sums = np.abs(signs @ differences)
    tie = 1e-6 * np.abs(differences).sum()
    return (sums >= abs(differences.sum()) - tie).mean()


def scipy_p(differences):
    """Return the two-sided p of scipy over all signs."""
    all_signs = {"permutation_type": "samples", "n_resamples": np.inf}
    return stats.permutation_test((differences,), np.mean, **all_signs).pvalue


def drawn_differences(kind, n):
    """Return random differences (n,); tied ones are multiples of one of 1797 test examples."""
    generator = np.random.default_rng(n)
    if kind == "normal":
        return generator.normal(0.3, 1, n)
    if kind == "skewed":
        return generator.exponential(1, n) - 0.4
    return generator.integers(-3, 5, n) / 1797


@pytest.mark.parametrize("n", [2, 3, 5, 6, 9, 12])
@pytest.mark.parametrize("kind", ["normal", "skewed", "tied"])
def test_sign_flips_are_those_of_an_enumeration_and_of_scipy(n, kind):
    differences = drawn_differences(kind, n)
    p = sign_flip_p(differences)
    assert p == pytest.approx(enumerated_p(differences), rel=1e-12)
    assert p == pytest.approx(scipy_p(differences), rel=1e-12)


@pytest.mark.parametrize("n", [3, 5, 6, 8, 9, 10])
def test_the_least_p_of_sign_flips_is_two_of_all(n):
    gains = np.random.default_rng(n).uniform(1, 2, n)
    assert sign_flip_p(gains) == 2 / 2**n
    assert sign_flip_p(-gains) == 2 / 2**n


def test_sign_flips_by_hand():
    """Of the eight sums of 1, 2 and 4, six are at least 1 - 2 + 4 = 3 from 0."""
    assert sign_flip_p(np.array([1.0, -2.0, 4.0])) == 6 / 8


def test_ties_count_though_sums_of_doubles_differ():
    tenths = np.array([1, 2, -3, 1, 2, 4])
    assert sign_flip_p(tenths / 10) == enumerated_p(tenths)


def test_ties_count_though_scores_were_rounded():
    examples = np.array([3, -1, 2, 2, -3, 1, 5, 1])
    reference = 0.9
    stored = np.round(examples / 719 + reference, 10)
    assert sign_flip_p(stored - reference) == enumerated_p(examples)


@pytest.mark.parametrize("scale", [1e-5, 1e5])
def test_sign_flips_do_not_depend_on_the_scale(scale):
    differences = np.random.default_rng(1).normal(0.5, 1, 9)
    assert sign_flip_p(scale * differences) == sign_flip_p(differences)


def test_pairs_without_a_difference_change_no_sign_flips():
    differences = np.random.default_rng(1).normal(0.5, 1, 9)
    assert sign_flip_p(np.append(differences, 0.0)) == sign_flip_p(differences)


def test_equal_differences_have_signs_though_no_spread():
    assert sign_flip_p(np.full(4, 0.03)) == 2 / 2**4


@pytest.mark.parametrize(
    "differences",
    [
        pytest.param([], id="none"),
        pytest.param([0.2], id="one"),
        pytest.param([0.1, np.nan, 0.3], id="nan"),
        pytest.param([0.1, np.inf], id="infinite"),
        pytest.param([0.0] * 4, id="zeros"),
        pytest.param([0.1 * ROUNDING] * 4, id="rounding"),
        pytest.param([0.5] * (MOST_SIGNS + 1), id="too-many"),
    ],
)
def test_sign_flips_are_undefined(differences):
    assert np.isnan(sign_flip_p(np.array(differences)))


def test_the_sign_flips_of_forty_differences_are_exact():
    assert sign_flip_p(np.full(MOST_SIGNS, 0.5)) == 2 / 2**MOST_SIGNS


def test_the_sign_flips_of_forty_differences_are_quick_and_near_those_of_t():
    differences = np.random.default_rng(2).normal(0.45, 1, MOST_SIGNS)
    begin = time.process_time()
    p = sign_flip_p(differences)
    assert time.process_time() - begin < 5
    assert p == pytest.approx(interval(differences).p, rel=0.15)


def test_sign_flips_are_uniform_without_an_effect():
    reports, n = 2000, 8
    draws = np.random.default_rng(3).laplace(0, 1, (reports, n))
    p = np.array([sign_flip_p(row) for row in draws])
    least_p = 2 / 2**n
    for level in (0.05, 0.25, 0.5):
        attainable = math.floor(level / least_p) * least_p
        error = np.sqrt(attainable * (1 - attainable) / reports)
        assert (p <= level).mean() == pytest.approx(attainable, abs=4 * error)


# Coverage


def coverage(draws, truth, bounds):
    """Return the share of rows (reports, n) whose interval contains the truth."""
    low, high = np.array([bounds(row) for row in draws]).T
    return ((low <= truth) & (truth <= high)).mean()


def student_bounds(row):
    """Return the bounds of the interval that is tested."""
    estimate = interval(row)
    return estimate.low, estimate.high


def normal_bounds(row):
    """Return what is often printed: 1.96 standard errors, as if the spread were known."""
    half = 1.96 * row.std(ddof=1) / np.sqrt(len(row))
    return row.mean() - half, row.mean() + half


@pytest.mark.parametrize(("n", "below"), [(3, 0.93), (5, 0.93), (10, 0.93), (20, 0.945)])
def test_intervals_cover_the_truth_as_often_as_they_claim_and_normal_ones_less(n, below):
    mean = 0.01
    draws = np.random.default_rng(n).normal(mean, 0.02, (6000, n))
    assert coverage(draws, mean, student_bounds) == pytest.approx(0.95, abs=0.02)
    assert coverage(draws, mean, normal_bounds) < below


@pytest.mark.parametrize(("n", "stated"), [(3, 0.89), (5, 0.88), (10, 0.90), (20, 0.92)])
def test_intervals_of_skewed_differences_cover_less_as_the_docstring_states(n, stated):
    draws = np.random.default_rng(n).exponential(1, (10_000, n))
    assert coverage(draws, 1, student_bounds) == pytest.approx(stated, abs=0.012)
    docstring = " ".join(interval.__doc__.split())
    assert f"{100 * stated:.0f} %" in docstring


def test_a_pair_of_equally_skewed_scores_has_a_symmetric_difference():
    """What pairing does for the interval: it covers at least as often as it claims."""
    baseline, arm = np.random.default_rng(4).exponential(1, (2, 6000, 8))
    assert 0.935 <= coverage(arm - baseline, 0, student_bounds) <= 0.98


# Correlation


def test_correlation_is_that_of_numpy():
    rising, other = np.array([1.0, 2.0, 4.0]), np.array([2.0, 1.0, 5.0])
    assert correlation(rising, -rising) == pytest.approx(-1)
    assert correlation(rising, other) == pytest.approx(np.corrcoef(rising, other)[0, 1])


def test_correlation_is_undefined_where_a_side_does_not_vary():
    rising = np.array([1.0, 2.0, 4.0])
    assert np.isnan(correlation(rising, np.full(3, 0.9)))
    assert np.isnan(correlation(rising[:1], rising[:1]))


# Error over seeds and test images


def right_or_wrong(generator, seeds, images):
    """Return differences (seeds, images) of being right: -1, 0 or 1.

    Seeds differ in skill, images in difficulty, and single predictions by chance.
    """
    gains = np.array([0.0, 0.03]).reshape(2, 1, 1)  # of reference and arm
    skill = gains + generator.normal(0, 0.02, (2, seeds, 1))
    shared_ease = generator.normal(0.8, 0.1, (1, 1, images))
    ease = shared_ease + generator.normal(0, 0.06, (2, 1, images))
    reference, arm = generator.random((2, seeds, images)) < skill + ease
    return arm.astype(float) - reference


def squared_errors(differences):
    """Return the squared standard errors of the mean: of seeds, of images, of both together."""
    images = differences.mean(axis=0)
    disagreement = float(np.square(differences).mean())
    of_seeds = standard_error(differences.mean(axis=1))
    of_images = standard_error(images)
    of_both = total_error(of_seeds, images, disagreement, len(differences))
    return of_seeds**2, of_images**2, of_both**2


def test_the_total_error_is_the_spread_over_fresh_seeds_and_other_images():
    generator = np.random.default_rng(3)
    reports = [right_or_wrong(generator, 12, 200) for _ in range(2000)]
    spread = np.std([differences.mean() for differences in reports])
    errors = [squared_errors(differences) for differences in reports]
    of_seeds, of_images, total = np.mean(errors, axis=0)
    interaction = of_seeds + of_images - total
    bootstrap = of_seeds + of_images + interaction  # as the next test shows
    assert np.sqrt(total) / spread == pytest.approx(1.02, abs=0.05)
    assert np.sqrt(of_seeds) < 0.95 * spread
    assert np.sqrt(bootstrap) > 1.3 * spread


def test_a_bootstrap_of_seeds_and_images_counts_the_interaction_three_times():
    """The total error counts it once. Drawn are n - 1 seeds and N - 1 images, by brute force."""
    generator = np.random.default_rng(4)
    seeds, images, draws = 6, 60, 20_000
    differences = right_or_wrong(generator, seeds, images)
    drawn_seeds = generator.integers(seeds, size=(draws, seeds - 1))
    drawn_images = generator.integers(images, size=(draws, images - 1))
    means = [
        differences[rows][:, columns].mean()
        for rows, columns in zip(drawn_seeds, drawn_images, strict=True)
    ]
    of_seeds, of_images, total = squared_errors(differences)
    interaction = of_seeds + of_images - total  # both contain it, the total once
    assert interaction > 0
    assert np.var(means) == pytest.approx(of_seeds + of_images + interaction, rel=0.04)


def test_the_total_error_subtracts_the_interaction_of_an_analysis_of_variance_once():
    """Also where the mean difference is large: its square is no interaction."""
    generator = np.random.default_rng(5)
    n, count = 6, 50
    arm = generator.random((n, count)) < 0.8
    reference = generator.random((n, count)) < 0.4
    differences = arm.astype(float) - reference
    seeds = differences.mean(axis=1)
    images = differences.mean(axis=0)
    residuals = differences - seeds[:, None] - images + differences.mean()
    freedom = (n - 1) * (count - 1)
    mean_square = np.square(residuals).sum() / freedom
    interaction = mean_square / (n * count)
    expected = seeds.var(ddof=1) / n + images.var(ddof=1) / count - interaction
    of_seeds, of_images, total = squared_errors(differences)
    assert expected > max(of_seeds, of_images)
    assert total == pytest.approx(expected)


def test_the_total_error_is_never_below_that_of_seeds_or_of_images():
    images = np.array([0.1, -0.1, 0.2, 0.0])
    much_interaction = 100.0
    of_images = standard_error(images)
    for of_seeds in (0.05, 0.1):
        total = total_error(of_seeds, images, much_interaction, 3)
        assert total == pytest.approx(max(of_seeds, of_images))
    assert 0.05 < of_images < 0.1


def test_the_total_error_of_one_seed_or_one_image_is_undefined():
    images = np.array([0.1, -0.1, 0.2, 0.0])
    assert np.isnan(total_error(np.nan, images, 0.1, 1))
    assert np.isnan(total_error(0.1, images[:1], 0.1, 3))


# Tests of means whose errors are given


def test_tests_with_given_errors_are_those_of_the_differences(pairs):
    differences = pairs[1] - pairs[0]
    mean = np.array([differences.mean()])
    error = np.array([standard_error(differences)])
    freedom = np.array([len(differences) - 1.0])
    margin = 0.02
    assert t_test_p(mean, error, freedom)[0] == pytest.approx(interval(differences).p)
    equivalence = t_equivalence_p(mean, error, freedom, margin)[0]
    assert equivalence == pytest.approx(equivalence_p(differences, margin))


def test_tests_with_an_error_of_zero_are_undefined():
    mean, error, freedom = np.array([0.01]), np.zeros(1), np.array([14.0])
    assert np.isnan(t_test_p(mean, error, freedom)).all()
    assert np.isnan(t_equivalence_p(mean, error, freedom, 0.02)).all()


# Signed ranks


def signed_rank_p(values):
    """Return the p of the signed ranks of some values."""
    *_, p = signed_rank(np.asarray(values))
    return p


def exact_wilcoxon_p(values):
    """Return the p of scipy over all signs."""
    return stats.wilcoxon(values, method="exact").pvalue


@pytest.mark.parametrize("n", [6, 9, 12, 20])
def test_signed_ranks_are_those_of_scipy(n):
    values = np.random.default_rng(n).normal(0.4, 1, n)
    estimate, _, _, p = signed_rank(values)
    pairs = list(itertools.combinations_with_replacement(values, 2))
    assert p == pytest.approx(exact_wilcoxon_p(values))
    assert estimate == pytest.approx(np.median(np.mean(pairs, axis=1)))


@pytest.mark.parametrize("n", [6, 9, 12, 20])
def test_the_interval_of_signed_ranks_is_the_inverted_test(n):
    values = np.random.default_rng(n).normal(0.4, 1, n)
    _, low, high, _ = signed_rank(values)
    step = 1e-9
    assert exact_wilcoxon_p(values - (low - step)) <= LEVEL
    assert exact_wilcoxon_p(values - (low + step)) > LEVEL
    assert exact_wilcoxon_p(values - (high - step)) > LEVEL
    assert exact_wilcoxon_p(values - (high + step)) <= LEVEL


def test_signed_ranks_with_ties_and_zeros_enumerate_all_signs():
    zeros, others = [0.0, 0.0], np.array([1.0, 1.0, 2.0, -1.0, 3.0])
    values = np.array([*zeros, *others])
    ranks = stats.rankdata(np.abs(values))[len(zeros) :]
    is_positive = np.array(list(itertools.product((0, 1), repeat=len(others))))
    all_sums = is_positive @ ranks
    rank_sum = ranks[others > 0].sum()
    assert signed_rank_p(values) == pytest.approx(2 * np.mean(all_sums >= rank_sum))


@pytest.mark.parametrize("level", [LEVEL, LEVEL / 3, LEVEL / 40])
def test_the_fewest_seeds_of_signed_ranks_are_the_first_whose_least_p_is_below_the_level(level):
    n = signed_rank_seeds(level)
    gains = np.arange(1.0, n + 1)  # no other signs have a smaller p
    assert signed_rank_p(gains) < level
    assert signed_rank_p(gains[:-1]) >= level
    assert np.isnan(detectable(1.0, n - 1, level, is_ranked=True))


@pytest.mark.parametrize(("n", "level"), [(6, LEVEL), (12, LEVEL / 40), (12, LEVEL)])
def test_signed_ranks_find_their_detectable_difference_four_times_in_five(n, level):
    shift = detectable(1.0, n, level, is_ranked=True)
    draws = np.random.default_rng(7).normal(shift, 1.0, size=(1500, n))
    p = np.array([signed_rank_p(row) for row in draws])
    assert (p < level).mean() == pytest.approx(POWER, abs=0.035)
    assert shift > detectable(1.0, n, level)


def test_signed_ranks_are_undefined_for_zeros_or_too_few_values():
    assert np.isnan(signed_rank_p(np.zeros(4)))
    _, low, high, _ = signed_rank(np.arange(5.0))
    assert np.isnan([low, high]).all()
    assert np.isnan(signed_rank(np.array([]))).all()
