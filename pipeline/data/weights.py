"""Read files of pretrained weights, and name them by their content."""

import functools
import hashlib
from pathlib import Path

from pipeline.data.paths import data_path
from pipeline.runtime.errors import Refusal

KEY = "model.weights"
SAFE, PICKLED = (".safetensors",), (".pt", ".pth", ".bin", ".ckpt")


def read_weights(path: str) -> bytes:
    """Return the content of a file of weights.

    Args:
        path: The file, relative to the project.

    Raises:
        Refusal: The file is missing or unreadable.
    """
    return _existing(path).read_bytes()


def weights_digest(path: str) -> str:
    """Return the sha256 of a file of weights.

    Raises:
        Refusal: The file is missing or unreadable.
    """
    file = _existing(path)
    status = file.stat()
    return _digest(file, status.st_size, status.st_mtime_ns)


def require_weights(path: str, digest: str) -> None:
    """Check that a file of weights has the `digest` that a plan holds.

    Raises:
        Refusal: The file has changed since, or is missing.
    """
    if weights_digest(path) != digest:
        raise Refusal(f"{KEY}: {path}: changed after these runs were planned; run: gapwise run")


@functools.lru_cache(maxsize=32)
def _digest(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _existing(path: str) -> Path:
    file = data_path(path)
    if not file.is_file():
        raise Refusal(
            f"{KEY}: {path}: missing; expected a file of weights, relative to the project"
        )
    if file.suffix not in (*SAFE, *PICKLED):
        expected = ", ".join((*SAFE, *PICKLED))
        raise Refusal(f"{KEY}: {path}: unknown kind of file; expected one of: {expected}")
    return file
