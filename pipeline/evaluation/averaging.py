"""Averages the members of a prediction: logits (members, examples, classes) in, probabilities out.

Separate from `metrics.py` because how members are averaged is a choice declared before any data is
seen, while a metric is the same for every choice.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def softmax(logits: NDArray[np.floating]) -> Array:
    """Probabilities (..., classes) in double precision; NaN where a logit is NaN or plus infinity."""
    wide = np.asarray(logits, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # an overflowed network is scored NaN, not warned about
        weights = np.exp(wide - wide.max(axis=-1, keepdims=True))
    probabilities: Array = weights / weights.sum(axis=-1, keepdims=True)
    return probabilities


def arithmetic_mean(logits: NDArray[np.floating]) -> Array:
    """The mean of the members' probabilities: (members, N, classes) -> (N, classes). The default rule."""
    mean: Array = softmax(logits).mean(axis=0)
    return mean


def geometric_mean(logits: NDArray[np.floating]) -> Array:
    """The normalized geometric mean of the members' probabilities: (members, N, classes) -> (N, classes).

    It is the softmax of the mean logits: what softmax subtracts from a member is the same for all classes.
    """
    return softmax(np.asarray(logits, dtype=np.float64).mean(axis=0))
