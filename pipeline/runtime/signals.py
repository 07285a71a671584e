"""Signals: hold them back, let them through, and end with the parent process."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TERMINATED = 128 + signal.SIGTERM
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@contextmanager
def interruptible() -> Iterator[None]:
    """Control-C raises KeyboardInterrupt in here where it otherwise ends the process at once, as during its imports."""
    silent = signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    try:
        if silent:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        if silent:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def held_back(*signals: signal.Signals) -> Iterator[None]:
    """Signals wait meanwhile, and in a process that is started meanwhile until it lets them through: `let_through`."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through(*signals: signal.Signals) -> None:
    """Signals that were held back as this process was started arrive now, if they came."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def end_with_parent(by: signal.Signals = signal.SIGTERM) -> None:
    """Asks Linux to end this process by a signal when its parent ends; elsewhere does nothing."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        sys.exit(TERMINATED)
