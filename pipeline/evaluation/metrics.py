"""Scores of predicted probabilities against labels, and the parts of the gap.

Separate from `averaging.py`: a metric never knows how many members stand behind a probability. Every
metric takes probabilities (N, classes) and labels (N,) and is NaN where a probability is.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.averaging import softmax

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Score = Callable[[Array, Labels], float]  # probabilities (N, classes), labels (N,)
BINS = 15  # Guo et al., ICML 2017
SMALLEST = float(np.finfo(np.float64).tiny)


def hits(probabilities: Array, labels: Labels) -> Array:
    """1 where the most probable class (N, classes) is the label (N,), else 0; NaN where a probability is."""
    undefined = np.isnan(probabilities).any(axis=1)
    return np.where(undefined, np.nan, probabilities.argmax(axis=1) == labels)


def accuracy(probabilities: Array, labels: Labels) -> float:
    """Fraction of examples whose most probable class is the label, 0 to 1; the first class wins a tie."""
    return float(hits(probabilities, labels).mean())


def nll(probabilities: Array, labels: Labels) -> float:
    """Mean negative log-likelihood in nats, 0 or more; a probability of 0 counts as 2.2e-308."""
    return float(-np.log(np.maximum(_of_label(probabilities, labels), SMALLEST)).mean())


def brier(probabilities: Array, labels: Labels) -> float:
    """Mean squared distance to the one-hot label, summed over classes, 0 to 2 (Brier 1950)."""
    of_label = _of_label(probabilities, labels)
    return float((np.square(probabilities).sum(axis=1) - 2 * of_label + 1).mean())


def calibration_error(probabilities: Array, labels: Labels, bins: int = BINS) -> float:
    """Expected calibration error of the top class, 0 to 1, over `bins` bins of equal mass.

    Sizes differ by one at most. Examples of equal confidence share their mean accuracy, so the result
    does not depend on the order of the examples.
    """
    right = hits(probabilities, labels)
    confidences, level, counts = np.unique(
        probabilities.max(axis=1), return_inverse=True, return_counts=True
    )
    excess = confidences - np.bincount(level, weights=right) / counts
    return float(
        sum(abs(part.sum()) for part in np.array_split(np.repeat(excess, counts), bins))
        / len(labels)
    )


def calibration_error_width(probabilities: Array, labels: Labels, bins: int = BINS) -> float:
    """Expected calibration error of the top class, 0 to 1, over `bins` bins of equal width.

    The form most papers report (Guo et al., ICML 2017); a few bins hold most examples of a sure network,
    which is why `calibration_error` stands beside it. Raises ValueError for fewer than one bin.
    """
    confidences = probabilities.max(axis=1)
    excess = confidences - hits(probabilities, labels)
    return float(
        np.abs(np.bincount(confidence_bins(confidences, bins), weights=excess)).sum() / len(labels)
    )


def confidence_bins(confidences: Array, bins: int) -> NDArray[np.intp]:
    """The bin (N,), 0 to bins - 1, of confidences (N,): bins (low, high] of equal width, the first closed.

    NaN counts as the last. Raises ValueError for fewer than one bin.
    """
    if bins < 1:
        raise ValueError(f"bins {bins}: allowed is 1 or more")
    return np.searchsorted(np.arange(1, bins) / bins, confidences, side="left")


METRICS: Mapping[str, Score] = {
    "accuracy": accuracy,
    "nll": nll,
    "brier": brier,
    "calibration_error": calibration_error,
    "calibration_error_width": calibration_error_width,
}


def member_accuracy(logits: NDArray[np.floating], labels: Labels) -> float:
    """The mean over members (members, N, classes) of each member's own accuracy."""
    return float(np.mean([accuracy(softmax(member), labels) for member in logits]))


def gap_parts(train: Mapping[str, float], validation: float) -> dict[str, float]:
    """The gap and what a network in training sees of it, as differences of accuracies.

    `train` maps a kind of member to its accuracy on the training split: "deterministic" always,
    "augmented" and "trained" only where they differ from it. `validation` is deterministic. Without
    augmentation or noise their parts are exactly 0.
    """
    clean = train["deterministic"]
    augmented = train.get("augmented", clean)
    trained = train.get("trained", augmented)
    gap, noise, augmentation = clean - validation, trained - augmented, augmented - clean
    return {
        "gap": gap,
        "gap_noise": noise,
        "gap_augmentation": augmentation,
        "gap_observed": noise + augmentation + gap,
    }


def _of_label(probabilities: Array, labels: Labels) -> Array:
    of_label: Array = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    return of_label
