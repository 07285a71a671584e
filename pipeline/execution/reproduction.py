"""DVC as a process that Control-C ends without a traceback, wherever it is: `python -m pipeline.execution.reproduction`.

Separate because `python -m dvc` shows one while it is still importing its own modules, and so does a stage in its first
moments, before any line of ours: both are started with interrupts held back, which `pipeline/__init__.py` lets through.
"""

import signal
import subprocess
import sys
from typing import Any

from dvc.cli import main
from dvc.env import DVC_STAGE

from pipeline.runtime.signals import held_back, interruptible


class Started(subprocess.Popen[Any]):
    """A process that DVC starts; in a stage SIGINT waits until our first line."""

    def __init__(self, *words: Any, **given: Any):
        with held_back(*([signal.SIGINT] if DVC_STAGE in (given.get("env") or {}) else [])):
            super().__init__(*words, **given)


if __name__ == "__main__":
    subprocess.Popen = Started  # type: ignore[misc]  # DVC starts a stage by this name
    with interruptible():
        code = main(sys.argv[1:])
    sys.exit(code)
