"""What a source says of its files while it reads them: told at once, and kept for who listens.

Separate because it is said deep inside a source, and belongs with what the preparation notes of the data.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from pipeline.data.paths import printable

_said: ContextVar[list[str] | None] = ContextVar("said", default=None)


def remark(place: Path, line: str, kind: str = "") -> None:
    """Says what is worth knowing of the files at `place`, which is kept by its name alone: where it lies differs."""
    print(printable(f"{kind}{place}: {line}"), file=sys.stderr)
    if (said := _said.get()) is not None:
        said.append(printable(f"{place.absolute().name}: {line}"))


@contextmanager
def heard() -> Iterator[list[str]]:
    """A list that fills with all that is said meanwhile."""
    said: list[str] = []
    token = _said.set(said)
    try:
        yield said
    finally:
        _said.reset(token)
