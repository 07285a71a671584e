"""Time short runs in a worker, as real ones are trained, to know how long longer ones take."""

import time
from collections.abc import Mapping
from typing import Any

from pipeline.training.job import run_training

MEASURABLE = 1.0  # seconds: a difference well above the noise of a clock on a busy machine
FACTOR = 4  # between the numbers of epochs of two runs
MOST_EPOCHS = 4096


def run_probe(job: Mapping[str, Any]) -> dict[str, Any]:
    """Train runs of growing length, then one with more validation examples.

    Args:
        job: `run`, a job of `run_training`; `updates`, those of an epoch; `more_validation`, a
            number of validation examples above that of the run.

    Returns:
        `state` (done), and the seconds of a run's start, of one update, and of the forward pass of
        one example.
    """
    first = job["run"]
    held = first["identity"]["data"]["validation_size"]
    _seconds(first, "warm", 1, held)
    epochs, shorter = 1, _seconds(first, "1", 1, held)
    while True:
        longer = _seconds(first, str(epochs * FACTOR), epochs * FACTOR, held)
        update = (longer - shorter) / ((FACTOR - 1) * epochs * job["updates"])
        if longer - shorter >= MEASURABLE or epochs * FACTOR >= MOST_EPOCHS:
            break
        epochs, shorter = epochs * FACTOR, longer
    base = _seconds(first, "again", 1, held)
    scored = _seconds(first, "scored", 1, job["more_validation"])
    # validation examples are scored twice: for the curve and for the record
    score = max(0.0, scored - base) / (2 * (job["more_validation"] - held))
    counted = job["updates"] * update + (first["identity"]["data"]["train_size"] + 2 * held) * score
    return {
        "state": "done",
        "start": max(0.0, base - counted),
        "update": max(0.0, update),
        "score": score,
    }


def _seconds(job: Mapping[str, Any], name: str, epochs: int, held: int) -> float:
    """Return how long a run takes with another number of epochs and of validation examples."""
    identity = job["identity"]
    training = identity["training"] | {"epochs": epochs, "curve_points": 1}
    data = identity["data"] | {"validation_size": held}
    changed = identity | {"training": training, "data": data}
    began = time.perf_counter()
    run_training({**job, "id": f"{job['id']}-{name}", "identity": changed})
    return time.perf_counter() - began
