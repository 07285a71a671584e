"""Time of the commands `plan` and `status` in this folder over the time of `import torch`.

Bar: 3. Ratios of pairs, median of five. Writes benchmarks/results/start.json.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPETITIONS = 5
BAR = 3
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "start.json"
COMMANDS = {
    "import_torch": ("-c", "import torch"),
    "plan": ("-m", "pipeline", "plan"),
    "status": ("-m", "pipeline", "status"),
}


def seconds(arguments: tuple[str, ...]) -> float:
    """Return the wall seconds of a new interpreter."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure and write the result."""
    for arguments in COMMANDS.values():
        seconds(arguments)  # fills the cache of the disk
    rounds = [
        {name: seconds(arguments) for name, arguments in COMMANDS.items()}
        for _ in range(REPETITIONS)
    ]
    results = {
        name: {
            "bar": BAR,
            "ratio": round(
                statistics.median(each[name] / each["import_torch"] for each in rounds), 2
            ),
            "median_seconds": round(statistics.median(each[name] for each in rounds), 2),
        }
        for name in COMMANDS
        if name != "import_torch"
    }
    RESULT.write_text(json.dumps(results | {"repetitions": REPETITIONS}, indent=1) + "\n")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
