"""Whether another machine sees this one's folders: a question is left in each of them, and an answer awaited.

Separate from the store because a protocol's artifacts have to be shared as well.
"""

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

QUESTION = "question"
PATIENCE = 5.0  # seconds; network file systems show new files late


@contextmanager
def question(folders: Sequence[Path]) -> Iterator[str]:
    """A question in every folder, made where it is missing, for as long as the context lasts; gives its name."""
    name = f".probe.{uuid.uuid4().hex}"
    try:
        for folder in folders:
            (folder / name).mkdir(parents=True)
            (folder / name / QUESTION).write_text(name)
        yield name
    finally:
        for folder in folders:
            shutil.rmtree(folder / name, ignore_errors=True)


def answer(folder: Path, name: str, who: str) -> str:
    """Answers the question as `who`, a file name; what stood in the way, nothing where all is well."""
    if not _soon(lambda: (folder / name / QUESTION).read_text() == name):
        return "does not see"
    return "" if _soon(lambda: bool((folder / name / who).write_text(who))) else "cannot write to"


def answered(folder: Path, name: str, who: str) -> bool:
    """Whether the answer of `who` has come back."""
    return _soon(lambda: (folder / name / who).read_text() == who)


def look_again(folders: Sequence[Path]) -> None:
    """Lists the folders: an NFS client that was told of no such file asks its server anew only then."""
    for folder in folders:
        os.listdir(folder)


def _soon(check: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if check():
                return True
        except OSError:
            pass
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
