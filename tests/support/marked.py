"""Every process that a command has started, found by a mark in its environment, with orphans.

Linux only: it reads /proc.
"""

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tiny import RUN

PATIENCE = 180  # seconds for a run to end
DYING = 60  # seconds for its processes to end, on a machine where others are busy
MARK = "GAPWISE_MARK"
DVC = "pipeline.execution.dvc_process"


@dataclass(frozen=True)
class Process:
    """`words` is its command line."""

    pid: int
    parent: int
    words: tuple[str, ...]

    @property
    def verb(self) -> str:
        """Return the stage that it belongs to; empty where it is none."""
        module = self.words[2] if self.words[1:2] == ("-m",) and len(self.words) == 4 else ""
        return (
            module.removeprefix("pipeline.")
            if module.startswith("pipeline.") and module != DVC
            else ""
        )


def marked(mark: str) -> list[Process]:
    """Return all living processes with `mark` in their environment; zombies are dead."""
    wanted = f"{MARK}={mark}".encode()
    processes = [
        _process(Path(entry.path))
        for entry in os.scandir("/proc")
        if entry.name.isdigit() and _holds(entry.path, wanted)
    ]
    return [process for process in processes if process]


def of_kind(kind: str, processes: list[Process]) -> list[Process]:
    """Return the processes that are `dvc`, a `stage` or a `worker` of one."""
    if kind == "dvc":
        return [process for process in processes if DVC in process.words]
    stages = {process.pid for process in processes if process.verb}
    return [
        process
        for process in processes
        if process.verb and (process.parent in stages) == (kind == "worker")
    ]


def survivors(mark: str) -> list[Process]:
    """Wait until no process lives; return those that still do when patience ends."""
    deadline = time.monotonic() + DYING
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _holds(folder: str, wanted: bytes) -> bool:
    try:
        return wanted in Path(folder, "environ").read_bytes().split(b"\0")
    except OSError:  # it has just ended, or is another user's
        return False


def _process(folder: Path) -> Process | None:
    try:
        state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        words = (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return None
    return None if state in "ZX" else Process(int(folder.name), int(parent), tuple(words))


class Run:
    """A command in a folder, its processes marked, its output kept in a file."""

    def __init__(self, folder: Path, environment: Mapping[str, str], words: tuple[str, ...] = RUN):
        self.mark = uuid.uuid4().hex
        self.output = (folder.parent / "output").open("w+")
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            env={**environment, MARK: self.mark},
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.SIG_DFL
            ),  # what runs in the background is deaf to it
        )

    def send(self, number: signal.Signals, target: str) -> str | None:
        """Send a signal and return the stage that it met, None where no process was left."""
        processes = marked(self.mark)
        verbs = {process.verb for process in processes} - {""}
        targets = [self.process] if target in ("group", "command") else of_kind(target, processes)
        if not targets or self.process.poll() is not None:
            return None
        try:
            os.killpg(self.process.pid, number) if target == "group" else os.kill(
                targets[-1].pid, number
            )
        except ProcessLookupError:
            return None
        return next(iter(verbs), "between")

    def begun(self) -> bool:
        """Return whether it has come to a stage."""
        return "Running stage" in Path(self.output.name).read_text()

    def end(self) -> tuple[int | None, str]:
        """Return the exit code, None where it did not end in time, and everything it printed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        with self.output:
            self.output.seek(0)
            return self.process.poll(), self.output.read()

    def clear(self) -> int:
        """End what has survived; return how many processes that were."""
        left = survivors(self.mark)
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.process.wait()
        return len(left)
