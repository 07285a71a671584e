"""Lock files: one run at a time in a project, one process at a time in a stage."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import BaseFileLock, FileLock, Timeout

from pipeline.runtime.errors import Refusal

RUN_LOCK = Path(".dvc/tmp/gapwise/lock")


@contextmanager
def exclusive_lock(path: Path = RUN_LOCK) -> Iterator[None]:
    """Hold a lock file, which contains the number of this process, while the context lasts.

    The system releases the lock of a process that has ended, however it ended.

    Raises:
        Refusal: Another process holds the lock; its number is named.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        acquired = _lock(path).acquire()
    except Timeout:
        raise Refusal(
            f"another run is in progress (process {_holder(path)}); wait for it or end it"
        ) from None
    with acquired:
        path.write_text(str(os.getpid()), encoding="utf-8")
        yield


def lock_holder(path: Path = RUN_LOCK) -> str:
    """Return the number of the process that holds a lock file; "" where none does."""
    holder = _holder(path) if path.exists() else ""
    if not holder or not is_running(int(holder)):
        return ""  # without taking the lock for a moment, which another process may want to hold
    try:
        with _lock(path):
            return ""
    except Timeout:
        return holder


def is_running(process: int) -> bool:
    """Return whether a process runs; not one that has ended and that its parent has not noticed."""
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _lock(path: Path) -> BaseFileLock:
    return FileLock(path, blocking=False, fallback_to_soft=False)  # a soft lock survives a kill


def _holder(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()
