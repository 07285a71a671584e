"""DVC as a process that Control-C ends without a traceback, wherever it is: `python -m pipeline.execution.reproduction`.

Separate because `python -m dvc` shows one while it is still importing its own modules, and so does a stage in its first
moments, before any line of ours: a stage is started with interrupts held back, which `pipeline/__init__.py` lets through.
"""

import signal
import subprocess
import sys
from typing import Any

from dvc.cli import main
from dvc.env import DVC_STAGE

from pipeline.execution.stage import interruptible


class Started(subprocess.Popen[Any]):
    """A process that DVC starts; a stage inherits that SIGINT waits."""

    def __init__(self, *words: Any, **given: Any):
        held = {signal.SIGINT} if DVC_STAGE in (given.get("env") or {}) else set()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
        try:
            super().__init__(*words, **given)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


if __name__ == "__main__":
    subprocess.Popen = Started  # type: ignore[misc]  # DVC starts a stage by this name
    with interruptible():
        code = main(sys.argv[1:])
    sys.exit(code)
