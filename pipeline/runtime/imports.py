"""Import large libraries faster: without garbage collection meanwhile."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Switch garbage collection off while the context lasts, then exempt what is there from it.

    Modules are not garbage, and looking for some takes a fifth of the time of their import. Workers
    that are forked later share the memory of exempt objects: https://docs.python.org/3/library/gc.html.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
