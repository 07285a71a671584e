"""How many small runs one GPU trains at a time: runs an hour with 1 and 4 workers sharing it.

One protocol's baseline, a few epochs of it; workers start before the clock does, since they live for many runs. Writes
benchmarks/results/gpu.json, with the card's name; without a GPU it says so and measures nothing.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from pipeline.config.parameters import Execution
from pipeline.config.run import RunConfig
from pipeline.config.streams import Streams
from pipeline.data import sources as data
from pipeline.data.prepared import read_summary, write_prepared
from pipeline.data.splits import divided
from pipeline.execution.devices import perform
from pipeline.execution.processes import run_jobs
from pipeline.planning.studies import read_experiment

ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "gpu.json"
PROTOCOL, EPOCHS, ROUNDS = (
    "cifar10_gpu",
    10,
    3,
)  # of which the first is not timed: workers start meanwhile
SHARED = (1, 4)


def prepared(folder: Path) -> dict[str, Any]:
    """Writes the protocol's data and gives the settings of its baseline, a few epochs of it."""
    protocol = read_experiment(PROTOCOL, ROOT).protocol
    parts = data.read(protocol.data.dataset, protocol.source)
    write_prepared(
        folder / "data", protocol.data.dataset, *divided(parts, protocol.data.test_fraction), True
    )
    settings = protocol.settings()
    return {**settings, "training": {**settings["training"], "epochs": EPOCHS}}


def jobs(settings: dict[str, Any], folder: Path, workers: int) -> list[dict[str, Any]]:
    """So many rounds of runs that differ by their seed."""
    digest, execution = read_summary(folder / "data")["digest"], Execution(accelerator="gpu")
    places = {
        "data": str(folder / "data"),
        "store": str(folder / f"runs_{workers}"),
        "hardware": execution.hardware(),
    }
    runs = [
        RunConfig(**settings, regularizers=(), streams=Streams.of(seed))
        for seed in range(ROUNDS * workers)
    ]
    return [
        {
            "id": f"run_{seed}",
            "identity": run.model_dump(mode="json") | {"data_digest": digest},
            "logger": None,
            **places,
        }
        for seed, run in enumerate(runs)
    ]


def measured(settings: dict[str, Any], folder: Path, workers: int) -> dict[str, float]:
    """Seconds of a run and runs an hour once every worker has ended its first."""
    ended = []
    for job, outcome in run_jobs(
        jobs(settings, folder, workers), perform, Execution(accelerator="gpu", runs_per_gpu=workers)
    ):
        if outcome["state"] != "done":
            sys.exit(f"{job['id']}: {outcome}")
        ended.append(time.perf_counter())
    seconds = (ended[-1] - ended[workers - 1]) / (len(ended) - workers)
    found = {"seconds_per_run": round(seconds, 2), "runs_an_hour": round(3600 / seconds)}
    print(f"{workers} at a time: {found}", flush=True)
    return found


def main() -> None:
    """Measures and writes the result."""
    if not torch.cuda.is_available():
        print("no GPU here: nothing measured")
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        settings = prepared(folder)
        found = {str(workers): measured(settings, folder, workers) for workers in SHARED}
    what = {
        "protocol": PROTOCOL,
        "epochs": EPOCHS,
        "gpu": torch.cuda.get_device_name(),
        "processors": os.cpu_count(),
    }
    result = {**what, "torch": torch.__version__, "runs_at_a_time": found}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
