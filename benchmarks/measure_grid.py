"""Grid efficiency: the bare training times of the default grid over twice the wall time.

Bars on two cores: at least 0.85 while workers run, 0.80 with their start (imports, planning,
copying). Wall times are those of the stages train and confirm, run as DVC runs them, in an empty
run store. Bare times are those of plain loops (measure_run.py) of each kind of run, on two
processes, after each grid and, except for the first, before it. Writes
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
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from measure_run import bare, development_pool

from pipeline.config.parameters import Execution
from pipeline.config.plan import read_plan
from pipeline.config.run import RunConfig, config_of
from pipeline.config.streams import Streams
from pipeline.execution import processes, scheduler
from pipeline.execution.processes import keep_freed_memory, run_jobs
from pipeline.records.store import Store

REPETITIONS = 2
WORKERS = 2
SAMPLE = 2  # bare runs of each kind
BARS = {"once_workers_stand": 0.85, "with_their_start": 0.80}
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "grid.json"


def staged(folder: Path, verb: str) -> dict[str, float]:
    """Return the seconds of one stage, run as a process in `folder`, and those of its workers."""
    environment = os.environ | {"GAPWISE_STORE": str(folder / ".runs"), "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    command = [sys.executable, __file__, verb]
    ended = subprocess.run(
        command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return {"all": time.perf_counter() - began, "standing": float(ended.stdout.splitlines()[-1])}


def stage(verb: str) -> None:
    """Run a stage in this process and print the seconds of its workers."""
    standing = 0.0

    def watched(*arguments: Any) -> Iterator[Any]:
        nonlocal standing
        began = time.perf_counter()
        yield from processes.run_jobs(*arguments)
        standing += time.perf_counter() - began

    watching: Any = type(sys)("watched")  # the module as the scheduler sees it
    watching.run_jobs = watched
    scheduler.processes = watching  # type: ignore[attr-defined]
    __import__(f"pipeline.{verb}")
    sys.modules[f"pipeline.{verb}"].main("digits")
    print(standing)


def grid() -> tuple[list[dict[str, float]], Counter[str]]:
    """Return the seconds of train and confirm, and how many runs of each kind they trained."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        shutil.copytree(ROOT / "experiments", folder / "experiments")
        (folder / "params.yaml").write_text("protocols: [digits]\n")
        seconds = {verb: staged(folder, verb) for verb in ("prepare", "train", "choose", "confirm")}
        store, phases = (
            Store(folder / ".runs"),
            (folder / "artifacts" / "digits" / name for name in ("exploration", "confirmation")),
        )
        kinds = Counter(
            kind(store.identity(name))
            for phase in phases
            for name in read_plan(phase).fingerprints()
        )
        return [seconds["train"], seconds["confirm"]], kinds


def kind(identity: Mapping[str, Any]) -> str:
    """Return the settings of a run without its seeds."""
    return config_of(identity).model_copy(update={"streams": Streams.of(0)}).model_dump_json()


def bare_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run one bare loop in a worker."""
    torch.set_num_threads(1)
    keep_freed_memory()
    config = RunConfig.model_validate_json(job["kind"]).model_copy(
        update={"streams": Streams.of(job["seed"])}
    )
    return {"state": "done", "seconds": bare(config, development_pool("digits"))}


def bare_seconds(kinds: Counter[str]) -> dict[str, float]:
    """Return the seconds of a bare run of each kind while the other core runs one too."""
    jobs = [
        {"id": f"{number} {seed}", "kind": name, "seed": seed}
        for seed in range(SAMPLE)
        for number, name in enumerate(kinds)
    ]
    ended = [
        (job["kind"], outcome["seconds"])
        for job, outcome in run_jobs(jobs, bare_job, Execution(workers=WORKERS))
    ]
    return {
        name: statistics.mean(seconds for other, seconds in ended if other == name)
        for name in kinds
    }


def efficiencies(
    seconds: list[dict[str, float]], kinds: Counter[str], plain: Mapping[str, float]
) -> dict[str, float]:
    """Return both efficiencies of a grid, with wall and bare seconds."""
    total = sum(count * plain[name] for name, count in kinds.items())
    walls = {
        name: sum(stage[key] for stage in seconds)
        for name, key in zip(BARS, ("standing", "all"), strict=True)
    }
    return {name: total / (WORKERS * wall) for name, wall in walls.items()} | {
        "wall": walls["with_their_start"],
        "bare": total,
    }


def main() -> None:
    """Measure grids and bare loops alternately, and write both efficiencies."""
    rows: list[dict[str, float]] = []
    plain: list[dict[str, float]] = []
    for _ in range(REPETITIONS):
        seconds, kinds = grid()
        plain.append(bare_seconds(kinds))
        near = {
            name: statistics.mean(each[name] for each in plain[-2:] if name in each)
            for name in kinds
        }
        rows.append(efficiencies(seconds, kinds, near))
        print(rows[-1], flush=True)
    result: dict[str, Any] = {
        name: {"bar": bar, **_summary([row[name] for row in rows])} for name, bar in BARS.items()
    }
    result |= {"runs": kinds.total(), "repetitions": REPETITIONS}
    result |= {
        f"median_{name}_seconds": round(statistics.median(row[name] for row in rows), 1)
        for name in ("wall", "bare")
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 3), "lowest": round(min(values), 3)}


if __name__ == "__main__":
    stage(sys.argv[1]) if len(sys.argv) > 1 else main()
