"""Seconds of the whole default run after installation, and of `dvc repro` when nothing has changed.

Bars: under 180 s and under 2 s on two cores. Each repetition is a fresh clone of what is committed, with an empty run
store; the no-op is the second `dvc repro` in it. Writes benchmarks/results/whole.json.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPETITIONS = 5
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "whole.json"


def seconds(folder: Path, *command: str) -> float:
    """Wall seconds of a command of this interpreter in `folder`."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", *command], cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def repetition() -> tuple[float, float]:
    """Seconds of (the whole run, a `dvc repro` after it)."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        return seconds(folder, "pipeline", "run"), seconds(folder, "dvc", "repro")


def main() -> None:
    """Measures and writes."""
    rows = [repetition() for _ in range(REPETITIONS)]
    result = {
        name: {"bar": bar, "median_seconds": round(statistics.median(values), 2), "highest": round(max(values), 2)}
        for name, bar, values in zip(("whole_run", "no_op"), (180, 2), zip(*rows, strict=True), strict=True)
    }
    RESULT.write_text(json.dumps(result | {"repetitions": REPETITIONS}, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
