"""Compute metrics of predicted probabilities, and the parts of the gap.

Every metric takes probabilities (examples, classes) and labels (examples,), and is NaN where a
probability is.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.averaging import softmax

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Score = Callable[[Array, Labels], float]  # probabilities (N, classes), labels (N,)
GAPS = ("gap", "gap_noise", "gap_augmentation")  # the true gap, and what training adds to it
OBSERVED = "gap_observed"  # their sum, as a training log shows it
BINS = 15  # Guo et al., ICML 2017
SMALLEST = float(np.finfo(np.float64).tiny)


def hits(probabilities: Array, labels: Labels) -> Array:
    """Return (examples,): 1 where the most probable class is the label, else 0.

    Args:
        probabilities: Of every class (examples, classes).
        labels: Classes (examples,), from 0.
    """
    undefined = np.isnan(probabilities).any(axis=1)
    return np.where(undefined, np.nan, probabilities.argmax(axis=1) == labels)


def accuracy(probabilities: Array, labels: Labels) -> float:
    """Return the share of examples whose top class is the label, 0 to 1; the first wins a tie.

    Args:
        probabilities: Of every class (examples, classes).
        labels: Classes (examples,), from 0.
    """
    return float(hits(probabilities, labels).mean())


def nll(probabilities: Array, labels: Labels) -> float:
    """Return the mean negative log-likelihood in nats, >= 0; probability 0 counts as 2.2e-308.

    Args:
        probabilities: Of every class (examples, classes).
        labels: Classes (examples,), from 0.
    """
    return float(-np.log(np.maximum(at_labels(probabilities, labels), SMALLEST)).mean())


def brier(probabilities: Array, labels: Labels) -> float:
    """Return the mean squared distance to the one-hot label, 0 to 2.

    Brier, Monthly Weather Review 78, 1950.

    Args:
        probabilities: Of every class (examples, classes).
        labels: Classes (examples,), from 0.
    """
    of_label = at_labels(probabilities, labels)
    return float((np.square(probabilities).sum(axis=1) - 2 * of_label + 1).mean())


def calibration_error(probabilities: Array, labels: Labels, bins: int = BINS) -> float:
    """Return the expected calibration error of the top class, 0 to 1, in bins of equal mass.

    Sizes of bins differ by at most one. Examples of equal confidence share their mean accuracy, so
    the order of the examples does not matter.

    Bins of equal mass: Nguyen and O'Connor, Posterior Calibration and Exploratory Analysis for
    Natural Language Processing Models, EMNLP 2015.

    Args:
        probabilities: (examples, classes).
        labels: (examples,).
        bins: The number of bins, at least 1.

    Raises:
        ValueError: There are fewer than one bin.
    """
    correct = hits(probabilities, labels)
    confidences, level, counts = np.unique(
        probabilities.max(axis=1), return_inverse=True, return_counts=True
    )
    excess = confidences - np.bincount(level, weights=correct) / counts
    parts = np.array_split(np.repeat(excess, counts), bins)
    return float(sum(abs(part.sum()) for part in parts) / len(labels))


def calibration_error_width(probabilities: Array, labels: Labels, bins: int = BINS) -> float:
    """Return the expected calibration error of the top class, 0 to 1, in bins of equal width.

    Most papers report this form (Guo et al., ICML 2017), although a few bins hold most examples of
    a confident network.

    Args:
        probabilities: (examples, classes).
        labels: (examples,).
        bins: The number of bins, at least 1.

    Raises:
        ValueError: There are fewer than one bin.
    """
    confidences = probabilities.max(axis=1)
    excess = confidences - hits(probabilities, labels)
    sums = np.bincount(confidence_bins(confidences, bins), weights=excess)
    return float(np.abs(sums).sum() / len(labels))


def confidence_bins(confidences: Array, bins: int) -> NDArray[np.intp]:
    """Return the bin (examples,), 0 to bins - 1, of each example.

    Bins are (low, high] and of equal width, the first closed; NaN counts as the last.

    Args:
        confidences: The probability of the top class (examples,).
        bins: The number of bins, at least 1.

    Raises:
        ValueError: There are fewer than one bin.
    """
    if bins < 1:
        raise ValueError(f"bins: invalid value {bins}; expected an integer >= 1")
    return np.searchsorted(np.arange(1, bins) / bins, confidences, side="left")


METRICS: Mapping[str, Score] = {
    "accuracy": accuracy,
    "nll": nll,
    "brier": brier,
    "calibration_error": calibration_error,
    "calibration_error_width": calibration_error_width,
}


def member_accuracy(logits: NDArray[np.floating], labels: Labels) -> float:
    """Return the mean of the members' accuracies, 0 to 1.

    Args:
        logits: (members, examples, classes).
        labels: (examples,).
    """
    return float(np.mean([accuracy(softmax(member), labels) for member in logits]))


def gap_parts(train: Mapping[str, float], validation: float) -> dict[str, float]:
    """Return the gap and its parts during training, as differences of accuracies.

    Without augmentation or noise their parts are exactly 0.

    Args:
        train: Accuracy on the training split by kind of member: "deterministic" always, "augmented"
            and "trained" only where they differ from it.
        validation: The deterministic accuracy on the validation split.

    Returns:
        `gap`, `gap_noise`, `gap_augmentation` and their sum, `gap_observed`.
    """
    clean = train["deterministic"]
    augmented = train.get("augmented", clean)
    trained = train.get("trained", augmented)
    gap, noise, augmentation = clean - validation, trained - augmented, augmented - clean
    parts = dict(zip(GAPS, (gap, noise, augmentation), strict=True))
    return parts | {OBSERVED: noise + augmentation + gap}


def at_labels(values: Array, labels: Labels) -> Array:
    """Return the value of each row at its label (examples,).

    Args:
        values: (examples, classes).
        labels: (examples,).
    """
    chosen: Array = np.take_along_axis(values, labels[:, None], axis=1)[:, 0]
    return chosen
