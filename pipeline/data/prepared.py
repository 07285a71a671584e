"""Write and read the prepared arrays of a protocol, and the digest of them in every fingerprint."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.arrays import Arrays
from pipeline.data.stored import Images, StoredImages, pieces
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import new_folder, read_sealed, remedy_of, write_sealed

SUMMARY = "data.json"
PRETRAINING = "pretraining"  # the folder of their examples
GROUPS = "development_groups.npy"  # where no split may divide groups


def write_prepared(
    folder: Path,
    dataset: str,
    development: Arrays,
    test: Arrays,
    flips_keep_labels: bool,
    notes: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    class_names: Sequence[str] = (),
    pretraining: Mapping[str, Arrays] | None = None,
    of_dataset: int | None = None,
) -> dict[str, Any]:
    """Write the folder atomically and return its summary, with the digest of all arrays.

    `notes` are the results of the checks of the data, one line each; `settings` are those
    with which the source was read and split; `class_names` are empty where classes are numbers.
    `pretraining` are the examples that networks are pretrained on, by name; `of_dataset` is the
    number of classes of the dataset, if some are left out.
    """
    tested = {"test_images.npy": test.images, "test_labels.npy": test.labels}
    with new_folder(folder) as staging:
        sums, digest = _write_arrays(staging, development, tested)
        summary = {
            "dataset": dataset,
            **(settings or {}),
            "classes": development.classes,
            "of_dataset": of_dataset or development.classes,
            "class_names": list(class_names),
            "shape": list(development.shape),
            "flips_keep_labels": flips_keep_labels,
            "development": len(development.labels),
            "validation": development.validation,
            "test": len(test.labels),
            "digest": digest,
            "files": sums,
            "notes": list(notes),
            "pretraining": {
                name: _write_pool(staging / PRETRAINING / name, pool)
                for name, pool in (pretraining or {}).items()
            },
        }
        write_sealed(staging / SUMMARY, summary)
    return summary


def _write_pool(folder: Path, pool: Arrays) -> str:
    """Write examples to pretrain on, and return their digest."""
    folder.mkdir(parents=True)
    sums, digest = _write_arrays(folder, pool, {})
    summary = {
        "classes": pool.classes,
        "shape": list(pool.shape),
        "development": len(pool.labels),
        "validation": pool.validation,
        "digest": digest,
        "files": sums,
    }
    write_sealed(folder / SUMMARY, summary)
    return digest


def _write_arrays(
    folder: Path, development: Arrays, more: Mapping[str, Images]
) -> tuple[dict[str, str], str]:
    """Write development examples and further arrays.

    Returns:
        The sha256 of each file by name, and the digest of all of them.
    """
    files: dict[str, Images] = {
        "development_images.npy": development.images,
        "development_labels.npy": development.labels,
        **more,
    }
    if development.groups is not None:
        files[GROUPS] = development.groups
    sums = {name: _write(folder / name, array) for name, array in files.items()}
    return sums, _digest_of(sums, development.validation)


def _digest_of(sums: Mapping[str, str], validation: int) -> str:
    """Return the digest of arrays with these SHA-256 values.

    `validation` is the number of examples in the dataset's own validation set.
    """
    sizes = {"validation": str(validation)} if validation else {}
    text = json.dumps({**sums, **sizes}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def pretraining_folder(folder: Path, name: str) -> Path:
    """Return the folder of the examples of a pretraining in the folder of a protocol's data."""
    return folder / PRETRAINING / name


def read_summary(folder: Path) -> dict[str, Any]:
    """Return dataset, classes, shape, counts, digest and notes.

    Raises:
        Refusal: The summary is missing or corrupted.
    """
    return read_sealed(folder / SUMMARY)


def validation_size(folder: Path, settings: Mapping[str, Any]) -> int:
    """Return the number of validation images: the dataset's own, or the rest after training."""
    summary = read_summary(folder)
    remainder = summary["development"] - settings["train_size"]
    return int(summary["validation"] or settings.get("validation_size") or remainder)


def require_digest(folder: Path, digest: str) -> None:
    """Check that the prepared data have the `digest` that a plan holds.

    Raises:
        Refusal: The data have changed since.
    """
    if read_summary(folder)["digest"] != digest:
        raise Refusal(f"{folder}: changed after these runs were planned; {remedy_of(folder)}")


def require_intact(folder: Path) -> None:
    """Check that every array is as it was written, and that the digest belongs to the arrays.

    Raises:
        Refusal: One is missing or corrupted, or the digest is another.
    """
    summary = read_summary(folder)
    for name in summary["files"]:
        _read(folder, name)
    if _digest_of(summary["files"], summary["validation"]) != summary["digest"]:
        raise Refusal(f"{folder / SUMMARY}: digest: not that of the arrays; {remedy_of(folder)}")
    for name, digest in summary.get("pretraining", {}).items():
        pool = pretraining_folder(folder, name)
        require_intact(pool)
        if read_summary(pool)["digest"] != digest:
            raise Refusal(f"{pool / SUMMARY}: digest: not that of {folder / SUMMARY}")


def read_development(folder: Path) -> Arrays:
    """Return the development pool, which seeds split into training and validation."""
    images = _read(folder, "development_images.npy")
    return dataclasses.replace(read_development_labels(folder), images=images)


def read_development_labels(folder: Path) -> Arrays:
    """Return the development pool with images of one black pixel, to check sizes by."""
    summary = read_summary(folder)
    groups = _read(folder, GROUPS) if GROUPS in summary["files"] else None
    labels = _read(folder, "development_labels.npy")
    return Arrays.unread(labels, summary["classes"], summary["validation"], groups)


def read_test_images(folder: Path) -> NDArray[np.float32]:
    """Return the test examples (N, channels, height, width), for predictions."""
    return _read(folder, "test_images.npy")


def read_test_labels(folder: Path) -> NDArray[np.int64]:
    """Return the test labels (N,). Only `evaluate` may call this: it opens the test set."""
    return _read(folder, "test_labels.npy")


class _HashingWriter:
    """A file and the SHA-256 of its written content.

    It hides the file descriptor, so numpy writes in pieces and a full disk raises a clear error.
    """

    def __init__(self, file: IO[bytes]):
        self.file = file
        self.hash = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.hash.update(content)
        return self.file.write(content)


def _write(path: Path, array: Images) -> str:
    with path.open("wb") as file:
        writer = _HashingWriter(file)
        if isinstance(array, StoredImages):
            _save(writer, array)
        else:
            np.save(writer, array, allow_pickle=False)
    return writer.hash.hexdigest()


def _save(writer: _HashingWriter, images: StoredImages) -> None:
    """Write images as `numpy.save` writes an array."""
    header = {
        "descr": np.lib.format.dtype_to_descr(images.dtype),
        "fortran_order": False,
        "shape": images.shape,
    }
    np.lib.format.write_array_header_1_0(writer, header)
    for piece in pieces(images):
        writer.write(piece.tobytes())


def _read(folder: Path, name: str) -> NDArray[Any]:
    """Return an array, mapped: workers share its memory, and unused parts are not read."""
    path = folder / name
    expected = read_summary(folder)["files"][name]
    if not path.is_file() or _file_digest(path) != expected:
        raise Refusal(f"{path}: missing or corrupted; {remedy_of(path)}")
    array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return array


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
