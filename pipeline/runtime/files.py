"""Files and folders that appear whole or not at all: written beside their place, then moved into it.

Separate because every writer needs it: a kill at any moment leaves the old content or the new.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import Refusal

CHECKSUM = "checksum"  # of all else in a document


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text with Unix line ends in place of whatever was there."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes in place of whatever was there."""
    staging = _beside(path)
    try:
        staging.write_bytes(content)
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)


def to_json(value: Any) -> str:
    """Stable text: sorted keys, one trailing newline, no NaN."""
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n"


def write_sealed(path: Path, document: Mapping[str, Any]) -> None:
    """Writes what a stage leaves for those after it as JSON, with a checksum of its own."""
    write_text(path, to_json(sealed(document)))


def read_sealed(
    path: Path, needed: str = "needed are the stages before this one: make run"
) -> dict[str, Any]:
    """What an earlier stage left. Raises Refusal, with what is `needed`, where it is missing or not what was written."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        document = None
    if not is_sealed(document):
        raise Refusal(f"{path}: missing or damaged; {needed}")
    return {key: value for key, value in document.items() if key != CHECKSUM}


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with a checksum of what it says, whatever its layout: a flipped digit shows."""
    content = {key: value for key, value in document.items() if key != CHECKSUM}
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return {**content, CHECKSUM: hashlib.sha256(text.encode()).hexdigest()}


def is_sealed(document: Any) -> bool:
    """Whether a document is one that was sealed and still says what it said."""
    try:
        return isinstance(document, dict) and sealed(document)[CHECKSUM] == document.get(CHECKSUM)
    except ValueError:  # not a number
        return False


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `target` if nothing is raised meanwhile."""
    staging, earlier = _beside(target), _beside(target)
    try:
        staging.mkdir(parents=True)
        yield staging
        if target.exists():
            os.replace(target, earlier)
        os.replace(staging, target)
    finally:
        for folder in (staging, earlier):
            shutil.rmtree(folder, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")
