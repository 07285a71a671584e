"""Growth of the memory of a worker over 500 runs.

Bar: under 50 MB from the 50th run to the last. Short runs of the default protocol's network with
every kind of arm in turn, on one worker. Writes benchmarks/results/memory.json.
"""

import functools
import json
import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch
from measure_run import development_pool, settings

from pipeline.config.parameters import Execution
from pipeline.config.run import RunConfig
from pipeline.config.streams import Streams
from pipeline.execution.processes import run_jobs
from pipeline.training.trainer import train

RUNS, WARM, BAR = 500, 50, 50
MEGABYTE = 1 << 20
RESULT = Path(__file__).parent / "results" / "memory.json"
ARMS: tuple[tuple[dict[str, Any], ...], ...] = (
    (),
    ({"name": "dropout", "rate": 0.5},),
    ({"name": "dropconnect", "rate": 0.5},),
    ({"name": "stochastic_depth", "survival": 0.5},),
    ({"name": "fractional_max_pooling", "ratio": 1.3},),
    ({"name": "augmentation", "shift": 1, "rotate": 10},),
    ({"name": "weight_decay", "strength": 0.01},),
    ({"name": "weight_averaging"},),
)


@functools.cache
def short() -> dict[str, Any]:
    """Return the settings of the default protocol with two epochs."""
    given = settings("digits")
    return given | {"training": given["training"] | {"epochs": 2, "curve_points": 2}}


def work(job: Mapping[str, Any]) -> dict[str, Any]:
    """Train a short run and return the memory of its worker after it."""
    torch.set_num_threads(1)
    number = int(job["id"])
    config = RunConfig(**short(), regularizers=ARMS[number % len(ARMS)], streams=Streams.of(number))
    train(config, development_pool("digits"))
    return {
        "state": "done",
        "megabytes": psutil.Process().memory_info().rss / MEGABYTE,
        "worker": os.getpid(),
    }


def main() -> None:
    """Measure and write the result."""
    jobs = [{"id": str(number)} for number in range(RUNS)]
    ended = [outcome for _, outcome in run_jobs(jobs, work, Execution(workers=1))]
    held = [outcome["megabytes"] for outcome in ended]
    result = {
        "bar_megabytes": BAR,
        "growth": round(
            statistics.median(held[-20:]) - statistics.median(held[WARM - 10 : WARM + 10]), 1
        ),
        "after_the_first_run": round(held[0]),
        "at_most": round(max(held)),
        "workers": len({outcome["worker"] for outcome in ended}),
        "runs": len(ended),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
