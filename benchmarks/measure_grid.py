"""Wall time of the train and confirm stages over the sum of the bare training times / 2, on two cores.

Bar: at most 1.35. Three arms (dropout, weight decay, augmentation) in a fresh run store, stages as DVC starts them,
imports and all. Bare times are those of plain loops on two processes at once, baseline runs (no regularizer is
cheaper), mean times the number of runs. Median of five repetitions, each with bare loops of its own. Writes
benchmarks/results/grid.json.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from measure_run import bare, digits_pool, digits_settings

from pipeline.config.fingerprint import RunConfig
from pipeline.config.plan import read_plan
from pipeline.config.schema import Execution
from pipeline.config.streams import Streams
from pipeline.execution.processes import keep_freed_memory, run_jobs

REPETITIONS = 5
WORKERS = 2
STUDIES = "[dropout, weight_decay, augmentation]"
SAMPLE = 16  # bare runs a repetition
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "grid.json"


def staged(folder: Path, verb: str) -> float:
    """Seconds of one stage in `folder`, as a process of its own."""
    environment = os.environ | {"GAPWISE_STORE": str(folder / ".runs"), "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", f"pipeline.{verb}", "digits"], cwd=folder, env=environment, check=True)
    return time.perf_counter() - began


def grid_seconds() -> tuple[float, int]:
    """Wall seconds of train + confirm in a fresh folder, and how many runs they trained."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        shutil.copytree(ROOT / "experiments", folder / "experiments")
        (folder / "params.yaml").write_text(f"protocols: [digits]\nstudies: {STUDIES}\n")
        seconds = {verb: staged(folder, verb) for verb in ("prepare", "train", "choose", "confirm")}
        plans = [read_plan(folder / "artifacts" / "digits" / phase) for phase in ("exploration", "confirmation")]
        return seconds["train"] + seconds["confirm"], sum(len(plan.fingerprints()) for plan in plans)


def bare_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """One bare loop in a worker."""
    torch.set_num_threads(1)
    keep_freed_memory()
    config = RunConfig(**digits_settings(), regularizers=(), streams=Streams.of(job["seed"]))
    return {"state": "done", "seconds": bare(config, digits_pool())}


def bare_seconds() -> float:
    """Mean seconds of a bare run while the other core runs one too."""
    jobs = [{"id": str(seed), "seed": seed} for seed in range(SAMPLE)]
    return statistics.mean(outcome["seconds"] for _, outcome in run_jobs(jobs, bare_job, Execution(workers=WORKERS)))


def main() -> None:
    """Measures and writes the ratio."""
    rows = []
    for _ in range(REPETITIONS):
        plain = bare_seconds()
        wall, runs = grid_seconds()
        rows.append({"wall": wall, "bare": plain, "runs": runs, "ratio": wall / (runs * plain / WORKERS)})
    ratios = [row["ratio"] for row in rows]
    result = {
        "bar": 1.35,
        "median_ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
        "median_wall_seconds": round(statistics.median(row["wall"] for row in rows), 1),
        "median_bare_seconds_a_run": round(statistics.median(row["bare"] for row in rows), 3),
        "runs": rows[0]["runs"],
        "repetitions": REPETITIONS,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
