"""Let code of the user run in what looks like another process on another machine at another time.

Whatever it reads of these is no part of a run's name, and nothing of a run may depend on it.
"""

import contextlib
import datetime as times
import importlib
import itertools
import os
import platform
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from types import ModuleType
from typing import Any, Self

from pipeline.models._randomness import restored_globals, seed_globals
from pipeline.models._switches import restored_switches
from pipeline.runtime import behaviour
from pipeline.runtime.errors import Refusal

_read = itertools.count(1)  # readings of the clock


class _LaterDate(date):
    """Dates, of which today is another one."""

    @classmethod
    def today(cls) -> Self:
        return super().today() + _later()


class _LaterDatetime(datetime):
    """Moments, of which the present is another one."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + _later()

    @classmethod
    def today(cls) -> Self:
        return cls.now()

    @classmethod
    def utcnow(cls) -> Self:
        return cls.now(UTC).replace(tzinfo=None)


def _later() -> timedelta:
    """Return by how much the clock is changed, at every reading by more."""
    return next(_read) * timedelta(days=1, hours=5, seconds=7)


def imported(module: str) -> ModuleType:
    """Return a module of the user; its first import draws the same in every process."""
    with restored_globals(), restored_switches():
        seed_globals(0, "import")
        return importlib.import_module(module)


@contextlib.contextmanager
def other_surroundings(module: str) -> Iterator[None]:
    """Change clock, process and name of the machine, and import the user's files anew.

    Files that cannot be imported twice stay as they are.

    Args:
        module: The module in which the code of the user begins.
    """
    with contextlib.ExitStack() as ending:
        for owner, name, value in _replacements():
            ending.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        kept = {name: sys.modules.pop(name) for name in _own_modules(module)}
        ending.callback(_put_back, kept)
        try:
            imported(module)
        except (Exception, SystemExit):  # whatever code of the user raises
            _put_back(kept)
        yield


def _replacements() -> Iterator[tuple[Any, str, Any]]:
    """Yield module, name and what replaces it there."""
    present, nanoseconds, process, parent = time.time, time.time_ns, os.getpid(), os.getppid()
    yield time, "time", lambda: present() + _later().total_seconds()
    yield time, "time_ns", lambda: nanoseconds() + int(_later().total_seconds() * 1e9)
    yield os, "getpid", lambda: process + 1
    yield os, "getppid", lambda: parent + 1
    yield socket, "gethostname", lambda: "elsewhere"
    yield platform, "node", lambda: "elsewhere"
    yield times, "date", _LaterDate
    yield times, "datetime", _LaterDatetime


def _own_modules(module: str) -> list[str]:
    """Return the names of the user's files in this folder that are imported."""
    try:
        files = behaviour.modules(module)
    except (Refusal, OSError, SyntaxError, UnicodeDecodeError):
        return []
    return [name for name, path in files.items() if name in sys.modules and behaviour.is_own(path)]


def _put_back(kept: dict[str, ModuleType]) -> None:
    """Make modules those of their names again, also in the packages that hold them."""
    sys.modules.update(kept)
    for name, module in kept.items():
        package, _, last = name.rpartition(".")
        if package in sys.modules:
            setattr(sys.modules[package], last, module)
