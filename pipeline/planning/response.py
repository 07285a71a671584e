"""Estimate the response of a score to one value on a scale, from few noisy settings.

The curve is a parabola plus a smooth departure from it, a Gaussian process. Its smoothness and the
noise of the scores are not known. So the curve is the mean over several models, weighted by how
well each explains the scores (marginal likelihood): Rasmussen and Williams, Gaussian Processes for
Machine Learning, 2006, chapters 2 and 5. benchmarks/measure_choice.py compares choices by this
curve, by a parabola only, and by the plain mean.
"""

import itertools
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Of the models, in standard deviations of the means over settings; the range has the length 2.
LEVEL = 2.0  # prior standard deviation of the constant
BENDS = (0.3, 1.0)  # prior deviations of slope and curvature
ROUGHNESS = (0.5, 1.0, 2.0)  # prior deviation of the departure from the parabola
LENGTHS = (0.3, 0.8)  # over which a departure is correlated
NOISES = (0.03, 0.1, 0.3, 0.6, 1.0)  # variance of the error of a mean, in their variance


def smoothed(places: Array, scores: Array) -> Array:
    """Return the expected score of every setting, given the scores of all.

    Args:
        places: The place of each setting on its scale (k,), all different, at least two.
        scores: One row for each seed (n, k). Seeds differ by a constant, as splits do, and by
            noise.

    Returns:
        The expected scores (k,), averaged over seeds.
    """
    means = scores.mean(axis=0)
    spread = float(means.std())
    if spread == 0:
        return np.full(len(means), means.mean())
    centred = (means - means.mean()) / spread
    x = 2 * (places - places.min()) / (places.max() - places.min()) - 1
    residuals = (scores - means - scores.mean(axis=1, keepdims=True) + scores.mean()) / spread
    models = [
        _posterior(_covariance(x, *shape), noise, centred, residuals)
        for *shape, noise in itertools.product(BENDS, ROUGHNESS, LENGTHS, NOISES)
    ]
    evidence = np.array([log_evidence for log_evidence, _ in models])
    weights = np.exp(evidence - evidence.max())
    curve: Array = weights @ np.array([mean for _, mean in models]) / weights.sum()
    fitted: Array = means.mean() + spread * curve
    return fitted


def _covariance(x: Array, bend: float, roughness: float, length: float) -> Array:
    """Return the prior covariance (k, k) of the curve at places `x` in [-1, 1]."""
    basis = np.stack([LEVEL * np.ones_like(x), bend * x, bend * (x**2 - 1 / 3)])
    distances = (x[:, None] - x) / length
    covariance: Array = basis.T @ basis + roughness**2 * np.exp(-(distances**2) / 2)
    return covariance


def _posterior(
    covariance: Array, noise: float, means: Array, residuals: Array
) -> tuple[float, Array]:
    """Return the logarithm of the evidence of a model, without constants, and its curve (k,).

    Args:
        covariance: The prior covariance of the curve (k, k).
        noise: The variance of the error of a mean.
        means: The observed means (k,).
        residuals: What setting and seed leave of the scores (n, k); of one seed zeros.
    """
    n, k = residuals.shape
    observed = covariance + noise * np.eye(k)
    solved = np.linalg.solve(observed, means)
    evidence = -(means @ solved + np.linalg.slogdet(observed)[1]) / 2
    freedom, variance = (n - 1) * (k - 1), n * noise
    evidence -= (freedom * np.log(variance) + np.square(residuals).sum() / variance) / 2
    return float(evidence), covariance @ solved
