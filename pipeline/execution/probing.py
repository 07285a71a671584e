"""Measure how fast a network trains here, on short runs of the project's own training code."""

import statistics
from typing import Any

import numpy as np

from pipeline.config.parameters import Execution
from pipeline.config.run import RunConfig
from pipeline.config.streams import Streams
from pipeline.data.arrays import Arrays
from pipeline.data.paths import cache_folder
from pipeline.data.prepared import write_prepared
from pipeline.execution.jobs import load
from pipeline.execution.processes import run_jobs, worker_environments
from pipeline.planning.fingerprint import identity
from pipeline.planning.proposal import Speed
from pipeline.planning.protocols import Protocol
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import temporary_folder

PROBE = "pipeline.training.probe:run_probe"
UPDATES = 10  # updates of an epoch, at most
MORE = 1000  # validation examples, at most
MOST_VALUES = 3_000_000  # values of these examples


def measure_speed(
    protocol: Protocol, shape: tuple[int, ...], classes: int, settings: Execution
) -> Speed:
    """Return the seconds that parts of a run take with every worker busy.

    Args:
        protocol: What is trained, resolved; its data are noise of the right shape.
        shape: (channels, height, width) of an example.
        classes: The number of classes.
        settings: Where runs are executed.

    Raises:
        Refusal: The network cannot be trained.
    """
    batch = protocol.training.batch_size
    updates = max(1, min(UPDATES, protocol.data.train_size // batch))
    least = max(2, classes)
    train = max(updates * batch, classes)
    more = least + max(2 * batch, min(MORE, MOST_VALUES // int(np.prod(shape))))
    pool = _noise(train + more, shape, classes)
    with temporary_folder(cache_folder()) as folder:
        summary = write_prepared(
            folder / "data", "noise", pool, pool.take(np.arange(classes)), True
        )
        values = protocol.settings()
        values["data"] |= {
            "classes": None,
            "per_class": None,
            "train_size": train,
            "validation_size": least,
            "label_noise": 0.0,
        }
        jobs: list[dict[str, Any]] = []
        for number in range(_workers(settings)):
            config = RunConfig(**values, regularizers=(), streams=Streams.of(number))
            run = {
                "id": f"probe-{number}",
                "identity": identity(config, summary["digest"]),
                "data": str((folder / "data").absolute()),
                "store": str((folder / "store").absolute()),
                "hardware": settings.hardware(),
            }
            jobs.append({"id": run["id"], "run": run, "updates": updates, "more_validation": more})
        outcomes = [outcome for _, outcome in run_jobs(jobs, load(PROBE), settings)]
    failed = [outcome for outcome in outcomes if outcome["state"] != "done"]
    if failed:
        raise Refusal(f"the network cannot be trained: {failed[0]['reason']}")
    return Speed(**{part: _median(outcomes, part) for part in ("start", "update", "score")})


def _workers(settings: Execution) -> int:
    return len(worker_environments(settings))


def _median(outcomes: list[dict[str, Any]], part: str) -> float:
    return statistics.median(float(outcome[part]) for outcome in outcomes)


def _noise(count: int, shape: tuple[int, ...], classes: int) -> Arrays:
    """Return examples of noise, with as many of each class as there can be."""
    images = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    return Arrays(images, np.arange(count) % classes, classes)
