"""Read and write the files of one run: a folder whose `record.json` holds their sha256.

The record also has a checksum of its content.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import is_sealed, remedy_of, write_sealed

if TYPE_CHECKING:
    from numpy.typing import NDArray

State = Literal["done", "failed", "diverged", "missing"]
STATES: tuple[State, ...] = get_args(State)
FINISHED = ("done", "diverged")  # a failed run is tried again, a diverged one is a result
RECORD = "record.json"


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a run with its own checksum.

    Args:
        folder: The folder of the run.
        record: State, scores and the checksums of files.
    """
    write_sealed(folder / RECORD, record)


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of the run in `folder`, None if there is none.

    Args:
        folder: The folder of the run.

    Raises:
        Refusal: The record is corrupted.
    """
    record = valid_record(folder)
    if record is None and (folder / RECORD).exists():
        remedy = f"remove {folder.parent} and {remedy_of(folder)}"
        raise Refusal(f"{folder / RECORD}: corrupted; {remedy}")
    return record


def done_records(folder: Path, runs: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the records of the runs in a phase's folder that are done, in the order given.

    Args:
        folder: The folder of the phase.
        runs: Fingerprints.

    Raises:
        Refusal: A record is corrupted.
    """
    records = {run: read_record(folder / run) for run in runs}
    return {run: record for run, record in records.items() if record and record["state"] == "done"}


def checked_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of the run in `folder`, None if there is none.

    Args:
        folder: The folder of the run.

    Raises:
        Refusal: The record or a file of the run is missing or corrupted.
    """
    record = read_record(folder)
    if record is not None and not is_intact(folder, record):
        remedy = f"remove {folder.parent} and {remedy_of(folder)}"
        raise Refusal(f"{folder}: a file is missing or corrupted; {remedy}")
    return record


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Return the learning curve of a run: one row per (epoch, split); empty if it has none.

    Args:
        folder: The folder of the run.

    Raises:
        Refusal: The curve is corrupted.
    """
    return [json.loads(line) for line in read_file(folder, "history.jsonl").decode().splitlines()]


def read_validation(folder: Path) -> "tuple[NDArray[Any], NDArray[Any]]":
    """Return logits (members, examples, classes) and labels (examples,) of a finished run.

    Args:
        folder: The folder of the run.

    Raises:
        FileNotFoundError: The run has no validation logits, since it is not done.
    """
    from safetensors.numpy import load_file  # imports numpy, for which no command should wait

    stored = load_file(folder / "validation.safetensors")
    return stored["logits"], stored["labels"]


def read_file(folder: Path, name: str) -> bytes:
    """Return the content of a file of a run; empty if there is none.

    Args:
        folder: The folder of the run.
        name: The name of the file in it.

    Raises:
        Refusal: The file is not the one that the record names.
    """
    path, record = folder / name, read_record(folder)
    content = path.read_bytes() if path.is_file() else b""
    expected = record["files"].get(name) if record else None
    if expected and sha256(content) != expected:
        remedy = f"remove {folder.parent} and {remedy_of(folder)}"
        raise Refusal(f"{path}: missing or corrupted; {remedy}")
    return content


def valid_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a run; None if there is none or its checksum is wrong.

    Args:
        folder: The folder of the run.
    """
    record = read_mapping(folder / RECORD)
    return record if is_sealed(record) else None


def read_mapping(path: Path) -> dict[str, Any]:
    """Return a mapping stored as JSON; empty if it is missing or corrupted.

    Args:
        path: The JSON file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_intact(folder: Path, record: Mapping[str, Any]) -> bool:
    """Return whether every file that a record names is there with its checksum.

    Args:
        folder: The folder of the run.
        record: Its record.
    """
    try:
        return all(file_digest(folder / name) == digest for name, digest in record["files"].items())
    except OSError:
        return False


def file_digest(path: Path) -> str:
    """Return the checksum of a file, which is read again only if it has changed.

    Args:
        path: The file.
    """
    facts = path.stat()
    return _file_digest(path, facts.st_ino, facts.st_size, facts.st_mtime_ns)


@functools.cache
def _file_digest(path: Path, inode: int, size: int, modified: int) -> str:
    return sha256(path.read_bytes())


def sha256(content: bytes) -> str:
    """Return the SHA-256 checksum of the content of a file, in hexadecimal digits.

    Args:
        content: The bytes of the file.
    """
    return hashlib.sha256(content).hexdigest()
