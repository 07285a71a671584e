"""Jobs that go wrong on purpose: what the tests of every executor ask for."""

import os
import signal
from pathlib import Path

IN_TRAINING = """

import os, time
from pathlib import Path
if "FAIL" in os.environ:
    def _fail(self, groups):
        raise RuntimeError("out of luck")
    WeightDecay.modify_optimizer = _fail
if "HANG" in os.environ:
    def _hang(self, inputs, targets, generator):
        Path(os.environ["HANG"]).touch()
        time.sleep(600)
    WeightDecay.modify_batch = _hang
"""


def plant(checkout: Path) -> None:
    """Let runs with weight decay fail or hang.

    They fail where FAIL is in the environment, and hang, once the file HANG is there, where HANG
    is.
    """
    file = checkout / "pipeline" / "regularizers" / "weight_decay.py"
    file.write_text(file.read_text() + IN_TRAINING)


def misbehave(how: str) -> None:
    """Raise, end the process with a code or by a signal; do nothing for any other word."""
    match how:
        case "raise":
            raise ValueError("no good")
        case "exit":
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
