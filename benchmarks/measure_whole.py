"""Seconds of the default run in a fresh clone of the committed project, with an empty run store.

Bar: under 300 s on two cores, after installation. Writes benchmarks/results/whole.json.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPETITIONS = 1
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "whole.json"


def seconds(folder: Path, *command: str) -> float:
    """Return the wall seconds of a module run in `folder`."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


def repetition() -> float:
    """Return the seconds of the run."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        return seconds(folder, "pipeline", "run")


def main() -> None:
    """Measure and write the result."""
    values = [repetition() for _ in range(REPETITIONS)]
    result = {
        "bar": 300,
        "median_seconds": round(statistics.median(values), 1),
        "highest": round(max(values), 1),
    }
    RESULT.write_text(json.dumps(result | {"repetitions": REPETITIONS}, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
