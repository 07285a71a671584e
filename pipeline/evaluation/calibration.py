"""Whether a confidence means what it says, and the one number that mends it: reliability and temperature.

Separate from `metrics.py` because nothing here is a score: a diagram is a table of bins, and a temperature
is fitted on validation labels before anything is scored with it. Guo et al., ICML 2017.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from pipeline.evaluation.averaging import softmax
from pipeline.evaluation.metrics import SMALLEST, Array, Labels, confidence_bins

LOG_TEMPERATURES = (-4.0, 4.0)


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram and its confidence histogram: one value per bin (bins,), least confident first."""

    low: Array
    high: Array
    count: NDArray[np.int64]
    confidence: Array
    accuracy: Array


def reliability(probabilities: Array, labels: Labels, bins: int = 10) -> Reliability:
    """Mean confidence and accuracy of the top class, 0 to 1, in bins (low, high] of equal width, the first closed.

    Both are NaN in an empty bin. An example with a NaN among its probabilities (N, classes) is in no bin, so
    the counts may sum to less than N; elsewhere the mean distance, weighted by count, is
    `calibration_error_width` of the same bins. Raises ValueError for fewer than one bin.
    """
    seen = ~np.isnan(probabilities).any(axis=1)
    confidences, hits = (
        probabilities[seen].max(axis=1),
        probabilities[seen].argmax(axis=1) == labels[seen],
    )
    at, edges = confidence_bins(confidences, bins), np.arange(bins + 1) / bins
    count = np.bincount(at, minlength=bins)
    filled = np.where(count > 0, count, np.nan)
    stated, observed = (
        np.bincount(at, weights=values, minlength=bins) / filled for values in (confidences, hits)
    )
    return Reliability(edges[:-1], edges[1:], count, stated, observed)


def tempered(probabilities: Array, temperature: float) -> Array:
    """softmax(log p / temperature) of probabilities (N, classes): flatter above 1, sharper below it.

    The most probable class stays (short of rounding); a probability of 0 counts as 2.2e-308. Raises ValueError
    unless the temperature is above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature {temperature}: allowed is a number above 0")
    return softmax(_logs(probabilities) / temperature)


def fitted_temperature(probabilities: Array, labels: Labels) -> float:
    """The temperature, e^-4 to e^4, of least mean negative log-likelihood of validation labels (N,).

    A set without errors pulls it to the lower bound. It is 1 where no temperature does better than 1, and
    where a probability is NaN.
    """
    logs = _logs(probabilities)

    def loss(log_temperature: float) -> float:
        return _log_loss(logs / np.exp(log_temperature), labels)

    found = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded")
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def _log_loss(logits: Array, labels: Labels) -> float:
    """The mean negative log-likelihood without a floor: convex in 1 / temperature, so it has one minimum."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    of_label = np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
    return float((np.log(np.exp(shifted).sum(axis=1)) - of_label).mean())


def _logs(probabilities: Array) -> Array:
    logs: Array = np.log(np.maximum(probabilities, SMALLEST))
    return logs
