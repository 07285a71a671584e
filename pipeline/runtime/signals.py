"""Handle Control-C, block signals while a process starts, end with the parent process."""

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
    """Let Control-C raise KeyboardInterrupt, where it otherwise ends the process at once."""
    silent = signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    try:
        if silent:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        if silent:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def signals_blocked(*signals: signal.Signals) -> Iterator[None]:
    """Block signals here, and in a process started meanwhile until it calls `unblock_signals`."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock_signals(*signals: signal.Signals) -> None:
    """Deliver signals that were blocked when this process was started."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def end_with_parent(by: signal.Signals = signal.SIGTERM) -> None:
    """Ask Linux to end this process by a signal when its parent ends; elsewhere do nothing."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        sys.exit(TERMINATED)
