"""Overhead of the engine: 300 trivial runs, planning 10,000 runs, a `dvc repro` with nothing to do.

Bars: under 5, 3 and 2 seconds. A trivial run trains nothing and stores a small record. The plan has
a hundred arms of the digits protocol on a hundred seeds. Medians of five. Writes
benchmarks/results/orchestration.json.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.config.parameters import Execution
from pipeline.config.plan import Plan
from pipeline.execution.scheduler import complete
from pipeline.planning.phases import confirmation
from pipeline.planning.studies import Experiment, read_experiment
from pipeline.records.store import Store

REPETITIONS = 5
BARS = {"trivial_runs_300": 5, "planning_10000_runs": 3, "no_op_repro": 2}
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "orchestration.json"


def write_project(folder: Path, arms: int, seeds: int) -> None:
    """Write settings of arms, ten per study, and of the number of confirmation seeds."""
    (folder / "experiments" / "protocols").mkdir(parents=True)
    names = [f"study_{number}" for number in range(-(-arms // 10))]
    for start, name in enumerate(names):
        rates = range(10 * start, min(10 * start + 10, arms))
        lines = [
            f"  arm_{rate}:\n    - {{name: dropout, rate: {(rate + 1) / 1000}}}\n" for rate in rates
        ]
        (folder / "experiments" / f"{name}.yaml").write_text(
            "question: Does it help?\narms:\n" + "".join(lines)
        )
    text = (ROOT / "experiments" / "protocols" / "digits.yaml").read_text()
    text = re.sub(
        "studies: .*",
        f"studies: [{', '.join(names)}]",
        re.sub("confirmation: [0-9]+", f"confirmation: {seeds}", text),
    )
    (folder / "experiments" / "protocols" / "many.yaml").write_text(text)
    (folder / "params.yaml").write_text("protocols: [many]\n")


def planned(folder: Path) -> tuple[Plan, dict[str, Any]]:
    """Return the confirmation plan of the settings in `folder`."""
    experiment: Experiment = read_experiment("many", folder)
    chosen = {
        study.name: {arm.name: arm.trials[0].setting for arm in study.arms}
        for study in experiment.studies
    }
    return confirmation(experiment, "", chosen)


def trivial(job: Mapping[str, Any]) -> dict[str, Any]:
    """Store a run without training."""
    files = {"weights.safetensors": b"0" * 10_000, "history.jsonl": b"{}\n" * 20, "run.json": b"{}"}
    record = {"state": "done", "reason": "", "audit": {}, "cost": {}, "machine": {}}
    Store(Path(job["store"])).write(job["id"], files, record, {"seconds": 0.0})
    return {"state": "done", "reason": ""}


def trivial_runs(place: Path) -> float:
    """Return the seconds of 300 trivial runs: workers, records, the assembled folder."""
    write_project(place, arms=29, seeds=10)
    plan, identities = planned(place)
    if len(identities) != 300:
        raise ValueError(f"{len(identities)} runs are planned")
    began = time.perf_counter()
    entry, settings = f"{__name__}:trivial", Execution(workers=2)
    complete(plan, identities, entry, Store(place / "store"), place, settings, {})
    return time.perf_counter() - began


def planning(place: Path) -> float:
    """Return the seconds from YAML to 10,000 named runs."""
    write_project(place, arms=99, seeds=100)
    began = time.perf_counter()
    _, identities = planned(place)
    if len(identities) != 10_000:
        raise ValueError(f"{len(identities)} runs are planned")
    return time.perf_counter() - began


def no_op(_: Path) -> float:
    """Return the seconds of `dvc repro` in this folder, which must be up to date."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    if "up to date" not in ended.stdout:
        raise ValueError("dvc repro had something to do; run `make run` first")
    return time.perf_counter() - began


def median(measure: Callable[[Path], float]) -> list[float]:
    """Return the seconds of each repetition, each in a new folder."""
    seconds = []
    for _ in range(REPETITIONS):
        with tempfile.TemporaryDirectory() as place:
            seconds.append(measure(Path(place)))
    return seconds


def main() -> None:
    """Measure and write the result."""
    rows = {
        name: median(measure)
        for name, measure in zip(BARS, (trivial_runs, planning, no_op), strict=True)
    }
    results = {
        name: {
            "bar": BARS[name],
            "median_seconds": round(statistics.median(values), 2),
            "highest": round(max(values), 2),
        }
        for name, values in rows.items()
    }
    RESULT.write_text(json.dumps(results | {"repetitions": REPETITIONS}, indent=1) + "\n")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
