"""Compute reliability diagrams, and scale temperature on validation labels.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # imports its parts on first use
from numpy.typing import NDArray

from pipeline.evaluation.averaging import softmax
from pipeline.evaluation.metrics import SMALLEST, Array, Labels, at_labels, confidence_bins

LOG_TEMPERATURES = (-4.0, 4.0)


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram and its confidence histogram: arrays (bins,), least confident first.

    Attributes:
        low: The lower bounds of the bins, 0 to 1.
        high: Their upper bounds, 0 to 1.
        count: The number of examples in each bin.
        confidence: The mean probability of the top class in each bin, NaN in an empty one.
        accuracy: The share of examples classified correctly in each bin, NaN in an empty one.
    """

    low: Array
    high: Array
    count: NDArray[np.int64]
    confidence: Array
    accuracy: Array


def reliability(probabilities: Array, labels: Labels, bins: int = 10) -> Reliability:
    """Return mean confidence and accuracy of the top class, 0 to 1, in bins of equal width.

    Bins are (low, high], the first closed. An example with a NaN among its probabilities is in no
    bin. Without such examples the mean distance, weighted by count, is `calibration_error_width` of
    the same bins.

    Args:
        probabilities: (examples, classes).
        labels: (examples,).
        bins: The number of bins.

    Raises:
        ValueError: There are fewer than one bin.
    """
    defined = ~np.isnan(probabilities).any(axis=1)
    probabilities, labels = probabilities[defined], labels[defined]
    confidences = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    index, edges = confidence_bins(confidences, bins), np.arange(bins + 1) / bins
    count = np.bincount(index, minlength=bins)
    filled = np.where(count > 0, count, np.nan)
    confidence, accuracy = (
        np.bincount(index, weights=values, minlength=bins) / filled
        for values in (confidences, correct)
    )
    return Reliability(edges[:-1], edges[1:], count, confidence, accuracy)


def tempered(probabilities: Array, temperature: float) -> Array:
    """Return softmax(log p / temperature) of probabilities: flatter above 1.

    The top class stays (up to rounding); a probability of 0 counts as 2.2e-308. Guo et al., ICML
    2017, section 4.2.

    Args:
        probabilities: (examples, classes).
        temperature: A number above 0.

    Returns:
        Probabilities (examples, classes).

    Raises:
        ValueError: The temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: invalid value {temperature}; expected a number > 0")
    return softmax(_logs(probabilities) / temperature)


def fitted_temperature(probabilities: Array, labels: Labels) -> float:
    """Return the temperature, e^-4 to e^4, with the least mean NLL of validation labels.

    A set without errors gives the lower bound. The result is 1 where no temperature is better than
    1, and where a probability is NaN.

    Args:
        probabilities: Those of the validation examples (examples, classes).
        labels: Their labels (examples,).
    """
    logs = _logs(probabilities)

    def loss(log_temperature: float) -> float:  # no floor: convex, so it has one minimum
        scaled = scipy.special.log_softmax(logs / np.exp(log_temperature), axis=1)
        return float(-at_labels(scaled, labels).mean())

    minimum = scipy.optimize.minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded")
    return float(np.exp(minimum.x)) if minimum.fun < loss(0.0) else 1.0


def _logs(probabilities: Array) -> Array:
    logs: Array = np.log(np.maximum(probabilities, SMALLEST))
    return logs
