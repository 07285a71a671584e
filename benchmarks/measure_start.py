"""Time of the commands that train nothing over that of `import torch`, and of what stages import.

Run it in a finished project, where `gapwise run` has nothing to do. Ratios of pairs in one run,
median of five. `report` finds its figures unchanged. `dvc` is the part of `run` that DVC takes.
`stages` are the seconds that the nine stages of a first run spend on imports, Python's own start
included; bar: 15 on two cores. Writes benchmarks/results/start.json.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPETITIONS = 5
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "start.json"
BARS = {"help": 0.6, "status": 0.6, "report": 0.6, "track": 0.6, "plan": 1.3, "run": 1.5}
UNIT = "import_torch"
UNCACHED = "PYTHONDONTWRITEBYTECODE"  # unset for users, whose commands do not compile the package
COMMANDS = {
    UNIT: ("-c", "import torch"),
    "help": ("-m", "pipeline", "--help"),
    "status": ("-m", "pipeline", "status"),
    "report": ("-m", "pipeline", "report"),
    "track": ("-m", "pipeline", "track", "--dry-run"),
    "plan": ("-m", "pipeline", "plan"),
    "dvc": ("-m", "pipeline.execution.dvc_process", "repro"),
    "run": ("-m", "pipeline", "run"),
}
UNCHANGED = "Data and pipelines are up to date."
STAGES_BAR = 15  # seconds
JOBS = "from pipeline.execution.jobs import load; "
PLOTS = """
from pipeline.runtime.imports import without_collection
with without_collection():
    import pipeline.reporting.plots.forest
"""
STAGES = {  # what each imports, also late: the code of a job, libraries of figures and statistics
    "prepare": "import pipeline.prepare",
    "train": f"{JOBS}from pipeline.train import TRAINING; load(TRAINING)",
    "choose": "import pipeline.choose",
    "confirm": f"{JOBS}from pipeline.confirm import TRAINING; load(TRAINING)",
    "predict": f"{JOBS}from pipeline.predict import PREDICTION; load(PREDICTION)",
    "evaluate": "import pipeline.evaluate, scipy.special, scipy.optimize",
    "compare": "import pipeline.compare",
    "report": f"import pipeline.report{PLOTS}",
    "track": "import pipeline.track",
}


def seconds(arguments: tuple[str, ...]) -> float:
    """Return the wall seconds of a new interpreter.

    Raises:
        ValueError: The command is that of a whole run, and there was something to do.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if name != UNCACHED}
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=kept | {"PATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    taken = time.perf_counter() - began
    if arguments == COMMANDS["run"] and UNCHANGED not in ended.stdout:
        raise ValueError("the project is not finished; run: gapwise run")
    return taken


def measure_commands() -> dict[str, dict[str, float]]:
    """Return the bar, the ratio to the import of torch and the seconds of every command."""
    for arguments in COMMANDS.values():
        seconds(arguments)  # fills the cache of the disk
    rounds = [
        {name: seconds(arguments) for name, arguments in COMMANDS.items()}
        for _ in range(REPETITIONS)
    ]
    results = {}
    for name in COMMANDS:
        bar = {"bar": BARS[name]} if name in BARS else {}
        ratio = statistics.median(each[name] / each[UNIT] for each in rounds)
        median = statistics.median(each[name] for each in rounds)
        results[name] = bar | {"ratio": round(ratio, 2), "median_seconds": round(median, 2)}
    return results


def measure_stages() -> dict[str, float]:
    """Return the bar, the sum over all stages, and the seconds of each."""
    rounds = [
        {name: seconds(("-c", imports)) for name, imports in STAGES.items()}
        for _ in range(REPETITIONS)
    ]
    medians = {name: statistics.median(each[name] for each in rounds) for name in STAGES}
    shown = {name: round(value, 2) for name, value in medians.items()}
    return {"bar": STAGES_BAR, "sum": round(sum(medians.values()), 2), **shown}


def main() -> None:
    """Measure and write the result."""
    results = {**measure_commands(), "stages": measure_stages(), "repetitions": REPETITIONS}
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
