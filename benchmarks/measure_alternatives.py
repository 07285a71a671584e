"""The same runs three ways: in long-lived workers, one process per run, one DVC stage per run.

One process per run is what sweep agents and multirun launchers do; here two at a time, as there are
two workers. DVC runs the stages of a pipeline one after another. All are baseline runs of the
default protocol from an empty store. Writes benchmarks/results/alternatives.json.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measure_run import settings

from pipeline.config.parameters import Execution
from pipeline.config.run import RunConfig
from pipeline.config.streams import Streams
from pipeline.data.prepared import read_summary
from pipeline.planning.fingerprint import fingerprint, identity

RUNS, WORKERS, REPETITIONS = 24, 2, 2
ONE = """
import json, sys
from pathlib import Path
from pipeline.training.job import run_training
run_training(json.loads(Path(sys.argv[1]).read_text()))
"""
MANY = """
import json, sys
from pathlib import Path
from pipeline.config.parameters import Execution
from pipeline.execution.processes import run_jobs
from pipeline.training.job import run_training
jobs = [json.loads(path.read_text()) for path in sorted(Path("jobs").iterdir())]
outcomes = run_jobs(jobs, run_training, Execution(workers=int(sys.argv[1])))
assert all(outcome["state"] == "done" for _, outcome in outcomes)
"""
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "alternatives.json"
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
}


def write_jobs(folder: Path) -> list[Path]:
    """Write the prepared data and a file for each run."""
    (folder / "experiments" / "protocols").mkdir(parents=True)
    text = (ROOT / "experiments" / "protocols" / "digits.yaml").read_text()
    (folder / "experiments" / "protocols" / "digits.yaml").write_text(text)
    (folder / "params.yaml").write_text("protocols: [digits]\n")
    run(folder, "-m", "pipeline.prepare", "digits")
    data, files = folder / "artifacts" / "digits" / "data", []
    (folder / "jobs").mkdir()
    for seed in range(RUNS):
        config = RunConfig(**settings("digits"), regularizers=(), streams=Streams.of(seed))
        this = identity(config, read_summary(data)["digest"])
        job: dict[str, Any] = {
            "id": fingerprint(this),
            "identity": this,
            "data": str(data),
            "store": str(folder / "store"),
        }
        files.append(folder / "jobs" / f"{job['id']}.json")
        files[-1].write_text(
            json.dumps(job | {"hardware": Execution(accelerator="cpu").hardware()})
        )
    return files


def run(folder: Path, *words: str) -> None:
    """Run this interpreter in `folder`."""
    subprocess.run(
        [sys.executable, *words], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True
    )


def by_engine(folder: Path, files: list[Path]) -> None:
    """Train in workers that live for many runs."""
    run(folder, "-c", MANY, str(WORKERS))


def by_processes(folder: Path, files: list[Path]) -> None:
    """Train each run in a process, two at a time."""
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda file: run(folder, "-c", ONE, str(file)), files))


def by_stages(folder: Path, files: list[Path]) -> None:
    """Train each run in a DVC stage."""
    (folder / "one.py").write_text(ONE)
    stages = {
        f"run_{number}": {
            "cmd": f"python one.py jobs/{file.name}",
            "deps": [f"jobs/{file.name}"],
            "outs": [f"store/{file.stem}"],
        }
        for number, file in enumerate(files)
    }
    (folder / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    run(folder, "-m", "dvc", "init", "--no-scm", "-q")
    run(folder, "-m", "dvc", "config", "core.analytics", "false")
    run(folder, "-m", "dvc", "repro", "-q")


def seconds(way: Any) -> float:
    """Return the wall seconds of all runs from an empty store."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = write_jobs(folder)
        began = time.perf_counter()
        way(folder, files)
        wall = time.perf_counter() - began
        done = len(list((folder / "store").glob("*/record.json")))
        if done != RUNS:
            raise ValueError(f"{done} of {RUNS} runs were stored")
        return wall


def main() -> None:
    """Measure the three ways in turn and write their ratios to the first."""
    ways = {
        "engine": by_engine,
        "process_for_each_run": by_processes,
        "dvc_stage_for_each_run": by_stages,
    }
    rows = [{name: seconds(way) for name, way in ways.items()} for _ in range(REPETITIONS)]
    result: dict[str, Any] = {
        f"median_{name}_seconds": round(statistics.median(row[name] for row in rows), 1)
        for name in ways
    }
    for name in [name for name in ways if name != "engine"]:
        factors = [row[name] / row["engine"] for row in rows]
        result[f"factor_{name}"] = {
            "median": round(statistics.median(factors), 2),
            "lowest": round(min(factors), 2),
        }
    result |= {"runs": RUNS, "workers": WORKERS, "repetitions": REPETITIONS}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
