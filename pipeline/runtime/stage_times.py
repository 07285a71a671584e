"""Keep the seconds that each stage of a run takes, in a file that its processes share."""

import json
import os
import time
from collections import Counter

import psutil

from pipeline.runtime.locks import RUN_LOCK

STAGE_TIMES = RUN_LOCK.with_name("stages.jsonl")
VARIABLE = "GAPWISE_STAGE_TIMES"  # names the file to the stages of a run


def clear_stage_times() -> dict[str, str]:
    """Forget the last run; return the environment variable that its stages need."""
    STAGE_TIMES.unlink(missing_ok=True)
    return {VARIABLE: str(STAGE_TIMES.absolute())}


def add_stage_time(stage: str) -> None:
    """Add the seconds since this process started, imports included; do nothing outside a run."""
    if VARIABLE not in os.environ:
        return
    seconds = time.time() - psutil.Process().create_time()
    with open(os.environ[VARIABLE], "a", encoding="utf-8") as file:
        file.write(json.dumps([stage, seconds]) + "\n")


def read_stage_times() -> dict[str, float]:
    """Return the seconds by stage, in the order in which they ended; repeated ones are summed."""
    text = STAGE_TIMES.read_text(encoding="utf-8") if STAGE_TIMES.exists() else ""
    seconds: Counter[str] = Counter()
    for stage, taken in map(json.loads, text.splitlines()):
        seconds[stage] += taken
    return dict(seconds)
