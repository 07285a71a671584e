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
import uuid
from collections.abc import Callable, Iterator
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
    for clock in (time.time, time.monotonic, time.perf_counter):
        yield time, clock.__name__, _ahead(clock, 1)
    for clock in (time.time_ns, time.monotonic_ns, time.perf_counter_ns):
        yield time, clock.__name__, _ahead(clock, 10**9)
    for kind in (time.localtime, time.gmtime):
        yield time, kind.__name__, _of_present(kind)
    strftime, process, parent = time.strftime, os.getpid(), os.getppid()
    system, _, *rest = os.uname()
    yield time, "strftime", lambda text, *moment: strftime(text, *(moment or [time.localtime()]))
    yield os, "getpid", lambda: process + 1
    yield os, "getppid", lambda: parent + 1
    yield os, "uname", lambda: os.uname_result((system, "elsewhere", *rest))
    yield uuid, "getnode", lambda: 0x123456789ABC
    yield socket, "gethostname", lambda: "elsewhere"
    yield platform, "node", lambda: "elsewhere"
    yield times, "date", _LaterDate
    yield times, "datetime", _LaterDatetime


def _ahead(clock: Callable[[], float], a_second: int) -> Callable[[], float]:
    """Return a clock that is ahead of another one; it counts in parts of a second."""
    return lambda: clock() + int(_later().total_seconds()) * a_second


def _of_present(kind: Callable[[float], Any]) -> Callable[..., Any]:
    """Return what converts a time in seconds, by default that of the changed clock."""
    return lambda seconds=None: kind(time.time() if seconds is None else seconds)


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
