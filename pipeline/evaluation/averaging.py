"""Average the members of a prediction: logits (members, examples, classes) to probabilities."""

import numpy as np
import scipy  # imports its parts on first use
from numpy.typing import NDArray

Array = NDArray[np.float64]


def softmax(logits: NDArray[np.floating]) -> Array:
    """Return the probabilities of logits.

    Args:
        logits: (..., classes).

    Returns:
        Probabilities (..., classes), float64; NaN if a logit is NaN or plus infinity.
    """
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        probabilities: Array = scipy.special.softmax(np.asarray(logits, np.float64), axis=-1)
    return probabilities


def arithmetic_mean(logits: NDArray[np.floating]) -> Array:
    """Return the mean of the members' probabilities, the default rule.

    Args:
        logits: (members, examples, classes).

    Returns:
        Probabilities (examples, classes).
    """
    mean: Array = softmax(logits).mean(axis=0)
    return mean


def geometric_mean(logits: NDArray[np.floating]) -> Array:
    """Return the normalized geometric mean of the members' probabilities.

    It is the softmax of the mean logits: softmax subtracts the same value from all classes.

    Args:
        logits: (members, examples, classes).

    Returns:
        Probabilities (examples, classes).
    """
    return softmax(np.asarray(logits, dtype=np.float64).mean(axis=0))
