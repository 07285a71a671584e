"""The prepared arrays of a protocol on disk, and the digest that stands for them in every fingerprint.

Separate from the sources: whatever they are, later stages see these six files. The test labels have a
reader of their own, which only the stage that scores may call.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.arrays import Arrays
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import new_folder, read_sealed, write_sealed

SUMMARY = "data.json"


def write_prepared(
    folder: Path,
    dataset: str,
    development: Arrays,
    test: Arrays,
    flips_keep_labels: bool,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes the folder, whole or not at all, and gives its summary with the digest of all arrays in it.

    `notes`: what was noticed of the data, a line each.
    """
    files: dict[str, NDArray[Any]] = {
        "development_images.npy": development.images,
        "development_labels.npy": development.labels,
        "test_images.npy": test.images,
        "test_labels.npy": test.labels,
    }
    with new_folder(folder) as staging:
        sums = {name: _write(staging / name, array) for name, array in files.items()}
        summary = {
            "dataset": dataset,
            "classes": development.classes,
            "shape": list(development.images.shape[1:]),
            "flips_keep_labels": flips_keep_labels,
            "development": len(development.labels),
            "validation": development.validation,
            "test": len(test.labels),
            "digest": _content(sums, development.validation),
            "files": sums,
            "notes": list(notes),
        }
        write_sealed(staging / SUMMARY, summary)
    return summary


def read_summary(folder: Path) -> dict[str, Any]:
    """Dataset, classes, shape, counts, digest and notes. Raises Refusal where nothing was prepared, or it is damaged."""
    return read_sealed(folder / SUMMARY, _needed(folder))


def require_digest(folder: Path, digest: str) -> None:
    """Raises Refusal where other data were prepared since `digest` became part of a plan, and of its runs' names."""
    if read_summary(folder)["digest"] != digest:
        raise Refusal(f"{folder}: prepared anew since these runs were planned; run: make run")


def read_development(folder: Path) -> Arrays:
    """The development pool: what seeds split into training and validation."""
    images = _read(folder, "development_images.npy")
    summary = read_summary(folder)
    return Arrays(
        images, _read(folder, "development_labels.npy"), summary["classes"], summary["validation"]
    )


def read_test_images(folder: Path) -> NDArray[np.float32]:
    """Test images (N, channels, height, width): to predict on, not to score."""
    images: NDArray[np.float32] = _read(folder, "test_images.npy")
    return images


def read_test_labels(folder: Path) -> NDArray[np.int64]:
    """Test labels (N,). Reading them opens the test set; only `evaluate` does."""
    labels: NDArray[np.int64] = _read(folder, "test_labels.npy")
    return labels


class _Summed:
    """A file as numpy writes it: piece by piece, so that a full disk is an error that says so, and summed meanwhile."""

    def __init__(self, file: IO[bytes]):
        self.file = file
        self.sum = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.sum.update(content)
        return self.file.write(content)


def _write(path: Path, array: NDArray[Any]) -> str:
    with path.open("wb") as file:
        summed = _Summed(file)
        np.save(summed, array, allow_pickle=False)
    return summed.sum.hexdigest()


def _read(folder: Path, name: str) -> Any:
    path = folder / name
    expected = read_summary(folder)["files"][name]
    if not path.is_file() or _digest(path) != expected:
        raise Refusal(f"{path}: missing or damaged; {_needed(folder)}")
    return np.load(
        path, mmap_mode="c", allow_pickle=False
    )  # mapped: workers share it, and what is not used is not read


def _content(sums: dict[str, str], validation: int) -> str:
    """The digest of all arrays, and of which examples validate where the dataset says so."""
    told = {**sums, **({"validation": str(validation)} if validation else {})}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _needed(folder: Path) -> str:
    return f"run: dvc repro --force prepare@{folder.parent.name}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
