"""Let code of the user run as if in another process, on another machine and at another time.

The values that it reads of these are no part of a run's name, and no run may depend on them.
"""

import contextlib
import datetime as times
import importlib
import itertools
import os
import platform
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from pipeline.models._randomness import restored_globals, seed_globals
from pipeline.models._switches import restored_switches
from pipeline.runtime import behaviour
from pipeline.runtime.errors import Refusal

DAY = 86400  # seconds

_read = itertools.count(1)  # readings of the clock


class _LaterDate(date):
    """A `date` whose `today` is in the future."""

    @classmethod
    def today(cls) -> Self:
        return super().today() + _later()


class _LaterDatetime(datetime):
    """A `datetime` whose `now`, `today` and `utcnow` are in the future."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + _later()

    @classmethod
    def today(cls) -> Self:
        return cls.now()

    @classmethod
    def utcnow(cls) -> Self:
        return cls.now(UTC).replace(tzinfo=None)


class _Variables(MutableMapping[str, str]):
    """Environment variables, one of which has another value for files of the user.

    Attributes:
        read: The names of the variables that files of the user have read.
    """

    def __init__(self, real: MutableMapping[str, str], changed: str):
        self.real, self.changed = real, changed
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> str:
        value = self.real[name]
        if not _is_read_by_user_file():
            return value
        self.read.add(name)
        if name != self.changed:
            return value
        if not value.isdecimal():
            raise KeyError(name)
        return str(int(value) + 1)

    def __setitem__(self, name: str, value: str) -> None:
        self.real[name] = value

    def __delitem__(self, name: str) -> None:
        del self.real[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.real)

    def __len__(self) -> int:
        return len(self.real)

    def copy(self) -> dict[str, str]:
        return dict(self.real)

    def __or__(self, others: Mapping[str, str]) -> dict[str, str]:
        return {**self.real, **others}

    def __ror__(self, others: Mapping[str, str]) -> dict[str, str]:
        return {**others, **self.real}


def _is_read_by_user_file() -> bool:
    """Return whether the code that reads a variable is in a file of the user."""
    between = (_is_read_by_user_file, os.getenv, MutableMapping.get)
    files = {function.__code__.co_filename for function in between}
    frame = sys._getframe()
    while frame.f_back and frame.f_code.co_filename in files:
        frame = frame.f_back
    return behaviour.is_user_file(Path(frame.f_code.co_filename))


def _later() -> timedelta:
    """Return the offset of the changed clock, which increases with every reading."""
    return next(_read) * timedelta(days=1, hours=5, seconds=7)


def imported(module: str) -> ModuleType:
    """Return a module of the user; its first import draws the same in every process."""
    with restored_globals(), restored_switches():
        seed_globals(0, "import")
        return importlib.import_module(module)


@contextlib.contextmanager
def other_surroundings(module: str, changed: str = "") -> Iterator[set[str]]:
    """Change clock, process, machine and dates of files, and import the user's files anew.

    Files that cannot be imported twice stay as they are.

    Args:
        module: The module in which the code of the user begins.
        changed: A variable of the environment. For the user's files it is not set, or one higher if
            it is an integer.

    Yields:
        The names of the variables of the environment that the user's files have read, to be looked
        at afterwards.
    """
    variables = _Variables(os.environ, changed)
    with contextlib.ExitStack() as ending:
        for owner, name, value in (*_replacements(), (os, "environ", variables)):
            ending.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        kept = {name: sys.modules.pop(name) for name in _user_modules(module)}
        ending.callback(_put_back, kept)
        try:
            imported(module)
        except (Exception, SystemExit):  # whatever code of the user raises
            _put_back(kept)
        yield variables.read


def _replacements() -> Iterator[tuple[Any, str, Any]]:
    """Yield module, name and the replacement of the name in the module."""
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
    yield os, "stat", _dated(os.stat)
    yield os, "cpu_count", _one_more(os.cpu_count)
    yield threading, "get_native_id", _one_more(threading.get_native_id)
    yield uuid, "getnode", lambda: 0x123456789ABC
    yield socket, "gethostname", lambda: "elsewhere"
    yield platform, "node", lambda: "elsewhere"
    yield times, "date", _LaterDate
    yield times, "datetime", _LaterDatetime


def _ahead(clock: Callable[[], float], a_second: int) -> Callable[[], float]:
    """Return a clock that is ahead of another one; it counts in parts of a second."""
    return lambda: clock() + int(_later().total_seconds()) * a_second


def _of_present(kind: Callable[[float], Any]) -> Callable[..., Any]:
    """Return a function that converts a time in seconds, by default the changed clock's."""
    return lambda seconds=None: kind(time.time() if seconds is None else seconds)


def _one_more(number: Callable[[], int | None]) -> Callable[[], int]:
    return lambda: (number() or 0) + 1


def _dated(stat: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
    """Return a function that reads the entry of a file, with other dates."""

    def read(*path: Any, **options: Any) -> os.stat_result:
        entry = stat(*path, **options)
        fields = {name: getattr(entry, name) for name in dir(entry) if name.startswith("st_")}
        for date_name in ("st_atime", "st_mtime", "st_ctime"):
            fields[date_name] += DAY
            fields[f"{date_name}_ns"] += DAY * 10**9
        dates = [seconds + DAY for seconds in entry[7:10]]
        return os.stat_result((*entry[:7], *dates), fields)

    return read


def _user_modules(module: str) -> list[str]:
    """Return the names of the user's files in this folder that are imported."""
    try:
        files = behaviour.modules(module)
    except (Refusal, OSError, SyntaxError, UnicodeDecodeError):
        return []
    return [
        name for name, path in files.items() if name in sys.modules and behaviour.is_user_file(path)
    ]


def _put_back(kept: dict[str, ModuleType]) -> None:
    """Restore modules under their names, in `sys.modules` and in their packages."""
    sys.modules.update(kept)
    for name, module in kept.items():
        package, _, last = name.rpartition(".")
        if package in sys.modules:
            setattr(sys.modules[package], last, module)
