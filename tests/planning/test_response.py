"""The response curve: against its own definition, and what it must do with plain inputs."""

import itertools

import numpy as np
import pytest
from scipy import stats

from pipeline.planning import response
from pipeline.planning.response import smoothed

PLACES = np.array([0.0, 1.0, 2.5, 3.0, 4.0])


def expected(places, scores):
    """Return the curve from densities of all scores and the rules of conditional expectation."""
    means = scores.mean(axis=0)
    spread = np.std(means)
    y, x = (means - means.mean()) / spread, np.interp(places, [min(places), max(places)], [-1, 1])
    n, k = scores.shape
    total, weight = np.zeros(k), 0.0
    contrasts = np.linalg.svd(np.eye(k) - 1 / k)[0][:, : k - 1]  # of settings, orthonormal
    seeds = np.linalg.svd(np.eye(n) - 1 / n)[0][:, : n - 1]
    errors = (seeds.T @ scores @ contrasts).ravel() / spread  # free of curve, seed and setting
    for bend, rough, length, noise in itertools.product(
        response.BENDS, response.ROUGHNESS, response.LENGTHS, response.NOISES
    ):
        prior = np.array(
            [
                [
                    response.LEVEL**2
                    + bend**2 * (a * b + (a**2 - 1 / 3) * (b**2 - 1 / 3))
                    + rough**2 * np.exp(-((a - b) ** 2) / (2 * length**2))
                    for a in x
                ]
                for b in x
            ]
        )
        joint = np.block([[prior, prior], [prior, prior + noise * np.eye(k)]])
        density = stats.multivariate_normal(np.zeros(k), joint[k:, k:]).pdf(y)
        density *= np.prod(stats.norm(0, np.sqrt(n * noise)).pdf(errors))
        total += density * (joint[:k, k:] @ np.linalg.inv(joint[k:, k:]) @ y)
        weight += density
    return means.mean() + spread * total / weight


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_the_curve_is_the_expectation_over_all_models(seeds):
    generator = np.random.default_rng(seeds)
    scores = 0.9 - 0.01 * (PLACES - 2) ** 2 + generator.normal(0, 0.01, (seeds, 5))
    assert smoothed(PLACES, scores) == pytest.approx(expected(PLACES, scores), abs=1e-9)


def test_it_follows_clear_scores_and_smooths_noisy_ones():
    means = np.array([0.80, 0.86, 0.95, 0.86, 0.80])
    generator = np.random.default_rng(0)
    errors = generator.normal(0, 1, (4, 5))
    errors -= errors.mean(axis=0)
    clear, noisy = (smoothed(PLACES, means + size * errors) for size in (0.0005, 0.1))
    assert clear == pytest.approx(means, abs=0.01)
    assert np.ptp(noisy) < 0.6 * np.ptp(clear)


def test_seeds_and_units_do_not_matter():
    """A split that is harder for all settings, and percent in place of fractions."""
    generator = np.random.default_rng(3)
    scores = generator.normal(0.9, 0.01, (2, 5))
    curve = smoothed(PLACES, scores)
    shift = np.array([[-0.1], [0.1]])
    assert smoothed(PLACES, scores + shift) == pytest.approx(curve)
    assert smoothed(7 + 3 * PLACES, 100 * scores) == pytest.approx(100 * curve)
    assert smoothed(PLACES[::-1], scores[:, ::-1]) == pytest.approx(curve[::-1])


def test_equal_means_are_returned():
    assert smoothed(PLACES, np.full((1, 5), 0.9)).tolist() == [0.9] * 5
