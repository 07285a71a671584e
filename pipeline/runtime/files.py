"""Write files and folders that appear whole or not at all: next to their place, then moved.

A kill at any moment leaves the old content or the new.
"""

import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import Refusal

CHECKSUM = "checksum"  # of the other values of a document


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, replacing the file."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes, replacing the file."""
    staging = _temporary(path)
    try:
        staging.write_bytes(content)
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)


def to_json(value: Any) -> str:
    """Return indented JSON with keys in their order and one trailing newline. NaN is an error."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def write_sealed(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document for later stages as JSON with its checksum."""
    write_text(path, to_json(sealed(document)))


def remedy_of(path: Path) -> str:
    """Return the command that writes a file of `artifacts` or `reports` again, for errors.

    The folder in one of these begins with the name of the protocol.
    """
    parts = path.parts
    for folder in ("artifacts", "reports"):
        if folder in parts[:-1]:
            after = parts[-parts[::-1].index(folder) :]
            return f"run: gapwise run --protocol {after[0].partition('+')[0]}"
    return "run: gapwise run"


def read_sealed(path: Path) -> dict[str, Any]:
    """Return a document that an earlier stage wrote.

    Raises:
        Refusal: It is missing or not what was written.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        document = None
    if not is_sealed(document):
        raise Refusal(f"{path}: missing or corrupted; {remedy_of(path)}")
    return {key: value for key, value in document.items() if key != CHECKSUM}


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with a checksum of its values."""
    content = {key: value for key, value in document.items() if key != CHECKSUM}
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return {**content, CHECKSUM: hashlib.sha256(text.encode()).hexdigest()}


def is_sealed(document: Any) -> bool:
    """Return whether a document has the checksum of its values."""
    try:
        return isinstance(document, dict) and sealed(document)[CHECKSUM] == document.get(CHECKSUM)
    except ValueError:  # NaN
        return False


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder, which replaces `target` at the end unless an exception is raised."""
    staging, earlier = _temporary(target), _temporary(target)
    try:
        staging.mkdir(parents=True)
        yield staging
        if target.exists():
            os.replace(target, earlier)
        os.replace(staging, target)
    finally:
        for folder in (staging, earlier):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield an empty folder below `parent`, which is removed at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")
