"""How long a command takes before it says anything: `plan` and `status` of this tree, against a bare `import torch`.

Bar: 3 times as long as the import (5 times while regularizers imported Lightning). Ratios of pairs, median of five; writes
benchmarks/results/start.json.
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
    """Wall seconds of a fresh interpreter."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Measures and writes."""
    for arguments in COMMANDS.values():
        seconds(arguments)  # files are in memory from here on
    rounds = [
        {name: seconds(arguments) for name, arguments in COMMANDS.items()}
        for _ in range(REPETITIONS)
    ]
    told = {
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
    RESULT.write_text(json.dumps(told | {"repetitions": REPETITIONS}, indent=1) + "\n")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
