"""Wait for a condition instead of some seconds: a machine may have much other work."""

import time
from collections.abc import Callable

PATIENCE = 300  # seconds after which a condition counts as missed


def wait_until(condition: Callable[[], object]) -> None:
    """Return as soon as a condition holds.

    Raises:
        AssertionError: It does not hold within `PATIENCE`.
    """
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE} s"
        time.sleep(0.02)
