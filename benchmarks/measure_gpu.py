"""Throughput of one GPU shared by 1 and by 4 workers, in runs per hour.

Runs are a few epochs of the baseline of one protocol. The first run of each worker is not timed,
since workers live for many runs. Writes benchmarks/results/gpu.json; without a GPU nothing is
measured.
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
from pipeline.data.splits import development_and_test
from pipeline.execution.devices import train_on_devices
from pipeline.execution.processes import run_jobs
from pipeline.planning.studies import read_experiment

ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "gpu.json"
PROTOCOL, EPOCHS = "cifar10_gpu", 10
ROUNDS = 3  # the first is not timed
SHARED = (1, 4)


def prepared(folder: Path) -> dict[str, Any]:
    """Write the data of the protocol and return the settings of its baseline, with few epochs."""
    protocol = read_experiment(PROTOCOL, ROOT).protocol
    splits = data.read(protocol.data.dataset, protocol.source)
    development, test = development_and_test(splits, protocol.data.test_fraction)
    write_prepared(folder / "data", protocol.data.dataset, development, test, True)
    settings = protocol.settings()
    return {**settings, "training": {**settings["training"], "epochs": EPOCHS}}


def jobs(settings: dict[str, Any], folder: Path, workers: int) -> list[dict[str, Any]]:
    """Return runs that differ in their seed, `ROUNDS` for each worker."""
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
    """Return seconds per run and runs per hour after the first run of each worker."""
    ended = []
    for job, outcome in run_jobs(
        jobs(settings, folder, workers),
        train_on_devices,
        Execution(accelerator="gpu", runs_per_gpu=workers),
    ):
        if outcome["state"] != "done":
            sys.exit(f"{job['id']}: {outcome}")
        ended.append(time.perf_counter())
    seconds = (ended[-1] - ended[workers - 1]) / (len(ended) - workers)
    result = {"seconds_per_run": round(seconds, 2), "runs_an_hour": round(3600 / seconds)}
    print(f"{workers} at a time: {result}", flush=True)
    return result


def main() -> None:
    """Measure and write the result."""
    if not torch.cuda.is_available():
        print("no GPU found: nothing measured")
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        settings = prepared(folder)
        shared = {str(workers): measured(settings, folder, workers) for workers in SHARED}
    what = {
        "protocol": PROTOCOL,
        "epochs": EPOCHS,
        "gpu": torch.cuda.get_device_name(),
        "processors": os.cpu_count(),
    }
    result = {**what, "torch": torch.__version__, "runs_at_a_time": shared}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
