"""What the engine itself costs: 300 trivial runs, planning 10,000 runs, a `dvc repro` that finds nothing to do.

Bars: under 5, 3 and 2 seconds. A trivial run trains nothing and stores a small record. The plan is that of a hundred arms
of the digits protocol on a hundred seeds. Medians of five; writes benchmarks/results/orchestration.json.
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
    """Settings of so many arms, ten to a study, confirmed on so many seeds."""
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
    """The confirmation plan of the settings in `folder`."""
    experiment: Experiment = read_experiment("many", folder)
    chosen = {
        study.name: {arm.name: arm.strengths[0].label for arm in study.arms}
        for study in experiment.studies
    }
    return confirmation(experiment, "", chosen)


def trivial(job: Mapping[str, Any]) -> dict[str, Any]:
    """A run that trains nothing."""
    files = {"weights.safetensors": b"0" * 10_000, "history.jsonl": b"{}\n" * 20, "run.json": b"{}"}
    record = {"state": "done", "reason": "", "audit": {}, "cost": {}, "machine": {}}
    Store(Path(job["store"])).write(job["id"], files, record, {"seconds": 0.0})
    return {"state": "done", "reason": ""}


def trivial_runs(place: Path) -> float:
    """Seconds that the engine takes for 300 of them: workers, records, the assembled folder."""
    write_project(place, arms=29, seeds=10)
    plan, identities = planned(place)
    if len(identities) != 300:
        raise ValueError(f"{len(identities)} runs are planned")
    began = time.perf_counter()
    complete(plan, identities, trivial, Store(place / "store"), place, Execution(workers=2), {})
    return time.perf_counter() - began


def planning(place: Path) -> float:
    """Seconds from YAML to 10,000 named runs."""
    write_project(place, arms=99, seeds=100)
    began = time.perf_counter()
    _, identities = planned(place)
    if len(identities) != 10_000:
        raise ValueError(f"{len(identities)} runs are planned")
    return time.perf_counter() - began


def no_op(_: Path) -> float:
    """Seconds of `dvc repro` in this tree, which must be reproduced before."""
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
        raise ValueError("needed first is `make run`: there was something to do")
    return time.perf_counter() - began


def median(measure: Callable[[Path], float]) -> list[float]:
    """Seconds of each repetition, in folders of their own."""
    seconds = []
    for _ in range(REPETITIONS):
        with tempfile.TemporaryDirectory() as place:
            seconds.append(measure(Path(place)))
    return seconds


def main() -> None:
    """Measures and writes."""
    rows = {
        name: median(measure)
        for name, measure in zip(BARS, (trivial_runs, planning, no_op), strict=True)
    }
    told = {
        name: {
            "bar": BARS[name],
            "median_seconds": round(statistics.median(values), 2),
            "highest": round(max(values), 2),
        }
        for name, values in rows.items()
    }
    RESULT.write_text(json.dumps(told | {"repetitions": REPETITIONS}, indent=1) + "\n")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
