"""Forecast of `gapwise new` against what its command took, on data that no protocol names.

In a fresh clone of the committed project, with an empty run store: `new` for few minutes, then the
command that it prints. Compared are the minutes to the report, the seconds of a run, the
seconds besides runs, and the runs that widening added with the allowance for them
(`planning/proposal.py`). Writes benchmarks/results/proposal.json.
"""

import contextlib
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

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits, load_wine

from pipeline.comparison.looks import decide
from pipeline.config.parameters import read_parameters
from pipeline.config.plan import Plan, read_plan
from pipeline.execution.forecast import forecast
from pipeline.execution.processes import worker_environments
from pipeline.planning.proposal import AFTER_SECONDS, STAGE_SECONDS, WIDENING_FACTOR
from pipeline.records.store import Store
from pipeline.runtime.stage_times import read_stage_times

TRAINING = ("train", "confirm")  # the stages whose time is that of runs
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "proposal.json"


def arrays(folder: Path) -> list[str]:
    """Write 600 images of 8x8 pixels, and return the arguments of `new`."""
    images, labels = load_digits(return_X_y=True)
    scaled = (images[:600].reshape(-1, 8, 8) * 15).astype(np.uint8)
    np.savez(folder / "scans.npz", images=scaled, labels=labels[:600])
    return [str(folder / "scans.npz")]


def table(folder: Path) -> list[str]:
    """Write a table of 178 rows with missing values and a category, and return the arguments."""
    values, labels = load_wine(return_X_y=True, as_frame=True)
    frame = pd.DataFrame(values).assign(kind=np.where(labels == 0, "dry", "other"))
    frame["strength"] = np.where(frame["alcohol"] > 13, "strong", "light")
    frame.loc[::9, "ash"] = np.nan
    frame.to_csv(folder / "bottles.csv", index=False)
    return [str(folder / "bottles.csv"), "--label", "kind"]


INPUTS: Mapping[str, tuple[Callable[[Path], list[str]], float]] = {
    "scans": (arrays, 2.0),
    "bottles": (table, 1.5),
}


def pipeline(project: Path, *arguments: str) -> tuple[str, float]:
    """Return what a command of the project prints, and its wall seconds."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {"PATH": path, "PYTHONPATH": str(project), "GAPWISE_STORE": str(project / ".runs")}
    began = time.perf_counter()
    command = [sys.executable, "-m", "pipeline", *arguments]
    ended = subprocess.run(
        command, cwd=project, env=os.environ | given, check=True, capture_output=True, text=True
    )
    return ended.stdout, time.perf_counter() - began


def measured(project: Path, name: str, store: Store, wall: float) -> dict[str, Any]:
    """Return forecast and measured parts of a report, from the records that its command has left.

    The working directory is the project, its protocol is as `new` wrote it, and the command took
    `wall` seconds.
    """
    ahead = forecast(name, lambda store, plan: {}, decide)
    folder = Path("artifacts") / name
    plans = [read_plan(folder / phase) for phase in ("exploration", "confirmation")]
    explored, confirmed = map(_count, plans)
    seconds = [store.timing(run).get("seconds") for plan in plans for run in plan.fingerprints()]
    parameters = read_parameters()
    stages = read_stage_times()
    training = sum(stages[f"{stage}@{name}"] for stage in TRAINING)
    workers = len(worker_environments(parameters.execution))
    planned = _count(ahead.exploration)
    expected = _seconds_per_run(project, name)
    runs = planned + confirmed
    return {
        "workers": workers,
        "runs": explored + confirmed,
        "seconds_per_run": {
            "forecast": expected,
            "measured": round(statistics.mean(one for one in seconds if one), 3),
            "with_its_share_of_the_stages": round(training * workers / (explored + confirmed), 3),
        },
        "besides_training": {
            "forecast": round(STAGE_SECONDS + AFTER_SECONDS * runs, 1),
            "measured": round(wall - training, 1),
        },
        "widening": {
            "planned": planned,
            "trained": explored,
            "factor": round(explored / planned, 2),
            "allowed": WIDENING_FACTOR,
        },
    }


def _count(plan: Plan) -> int:
    return len(plan.fingerprints())


def _seconds_per_run(project: Path, name: str) -> float:
    text = (project / "experiments" / "protocols" / f"{name}.yaml").read_text(encoding="utf-8")
    match = re.search(r"^seconds_per_run: ([\d.]+)", text, re.MULTILINE)
    assert match
    return float(match[1])


def report(project: Path, name: str, arguments: list[str], given: float) -> dict[str, Any]:
    """Return what `new` forecast for data and minutes, and what the printed command took."""
    printed, proposing = pipeline(project, "new", *arguments, "--minutes", str(given))
    minutes = re.search(r"^about ([\d.]+) minutes from the command", printed, re.MULTILINE)
    command = re.search(r"^run: gapwise (.*)$", printed, re.MULTILINE)
    assert minutes
    assert command
    _, seconds = pipeline(project, *command[1].split())
    forecast_seconds = 60 * float(minutes[1])
    with contextlib.chdir(project):
        parts = measured(project, name, Store(project / ".runs"), seconds)
    return {
        "new_seconds": round(proposing, 1),
        "seconds": {
            "forecast": forecast_seconds,
            "measured": round(seconds, 1),
            "ratio": round(seconds / forecast_seconds, 2),
        },
        **parts,
    }


def main() -> None:
    """Measure and write the result."""
    with tempfile.TemporaryDirectory() as place:
        project = Path(place) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(project)], check=True)
        inputs = {
            name: report(project, name, make(Path(place)), given)
            for name, (make, given) in INPUTS.items()
        }
    ratios = [one["seconds"]["ratio"] for one in inputs.values()]
    factors = [one["widening"]["factor"] for one in inputs.values()]
    result = {
        "mean_ratio": round(statistics.mean(ratios), 2),
        "mean_widening": round(statistics.mean(factors), 2),
        "allowed_widening": WIDENING_FACTOR,
        "load_average": round(os.getloadavg()[2], 1),  # of other programs too; 2 is that of a run
        "inputs": inputs,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
