"""Every process that a command has started, found by a mark in its environment, orphans included.

Separate because tests and a benchmark send signals to them. Linux only: it reads /proc.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

MARK = "GAPWISE_MARK"
REPRODUCTION = "pipeline.execution.reproduction"


@dataclass(frozen=True)
class Process:
    """`words` is its command line."""

    pid: int
    parent: int
    words: tuple[str, ...]

    @property
    def verb(self) -> str:
        """The stage that it belongs to; empty where it is none."""
        module = self.words[2] if self.words[1:2] == ("-m",) and len(self.words) == 4 else ""
        return module.removeprefix("pipeline.") if module.startswith("pipeline.") and module != REPRODUCTION else ""


def marked(mark: str) -> list[Process]:
    """All living processes with `mark` in their environment; zombies are dead."""
    wanted = f"{MARK}={mark}".encode()
    found = [_process(Path(entry.path)) for entry in os.scandir("/proc") if entry.name.isdigit() and _holds(entry.path, wanted)]
    return [process for process in found if process]


def of_kind(kind: str, processes: list[Process]) -> list[Process]:
    """The processes that are `dvc`, a `stage` or a `worker` of one."""
    if kind == "dvc":
        return [process for process in processes if REPRODUCTION in process.words]
    stages = {process.pid for process in processes if process.verb}
    return [process for process in processes if process.verb and (process.parent in stages) == (kind == "worker")]


def survivors(mark: str, seconds: float = 5.0) -> list[Process]:
    """What still lives after so long."""
    deadline = time.monotonic() + seconds
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
