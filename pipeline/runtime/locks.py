"""One `run` at a time in a tree, and a `dvc.lock` that parses.

Separate from the store: these guard DVC's own files, which DVC does not write atomically.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime.errors import Refusal

PRIVATE = Path(".dvc/tmp/gapwise")


@contextmanager
def held(folder: Path = PRIVATE, name: str = "lock") -> Iterator[None]:
    """Holds a lock, this tree's by default, while a run is at work. Raises Refusal naming the process that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Refusal(
                f"another run is at work in this tree (process {file.read().strip()}); wait for it or end it"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Waits until no other process is in here by the same path: for what takes milliseconds."""
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def who_holds(folder: Path = PRIVATE, name: str = "lock") -> str:
    """The process that is at work in this tree; nothing where none is."""
    try:
        with held(folder, name):
            return ""
    except Refusal:
        return (folder / name).read_text(encoding="utf-8").strip()
