"""Give texts the same hashes in every process: the order of a set of names follows from them.

A network of the user may be built in such an order, or seed a generator with a hash.
"""

import os
import sys

SEED = {"PYTHONHASHSEED": "0"}  # which Python reads when a process starts


def start_with_equal_hashes() -> None:
    """Let processes that this one starts have them."""
    os.environ.update(SEED)


def require_equal_hashes() -> None:
    """Begin this process again, in its place, unless it was started with them."""
    if not SEED.items() <= os.environ.items():
        start_with_equal_hashes()
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
