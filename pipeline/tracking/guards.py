"""Limit how long W&B may take and what it may print."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class WandbTimeout(BaseException):
    """W&B did not answer. Not an Exception, so that W&B cannot catch it and keep waiting."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise WandbTimeout after `seconds`.

    In the main thread of a system that has alarms; elsewhere do nothing.
    """
    main = threading.current_thread() is threading.main_thread()
    if not (main and hasattr(signal, "setitimer")):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise WandbTimeout(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def no_stacks() -> Iterator[None]:
    """Suppress stack traces of W&B's logging and threads, as when wandb-core is lost."""
    before = logging.raiseExceptions, threading.excepthook
    logging.raiseExceptions, threading.excepthook = False, lambda lost: None
    try:
        yield
    finally:
        logging.raiseExceptions, threading.excepthook = before


def short_error(error: BaseException) -> str:
    """Return one short line."""
    name = "TimeoutError" if isinstance(error, WandbTimeout) else type(error).__name__
    return short_text(f"{name}: {error}")


def short_text(text: str) -> str:
    """Return a text on one line of at most 200 characters."""
    return " ".join(text.split())[:200].rstrip(": ")
