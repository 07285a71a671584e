"""The batches of CIFAR-10 and CIFAR-100, Python version: 32x32 color images, folder or archive.

Unpickling a batch runs what the file names. So a batch is read only if its md5 is the published
one, by an unpickler that allows three harmless names. An archive is never unpacked onto the disk.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import io
import logging
import pickle
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.arrays import Arrays, Splits
from pipeline.data.sources._download import read_limited, require_md5
from pipeline.runtime.errors import Refusal

logger = logging.getLogger(__name__)

SHAPE = (3, 32, 32)
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: np.empty(0, np.uint8),
    ("numpy", "dtype"): lambda *_: np.dtype(np.uint8, copy=True),
    ("numpy", "ndarray"): None,  # an argument of the first, which ignores it
}


@dataclass(frozen=True)
class CifarVariant:
    """The published files of CIFAR-10 or CIFAR-100.

    `md5` maps each batch to its checksum, `test` names the test batch, and `labels` the key of the
    labels in a batch.
    """

    folder: str
    archive: str
    archive_md5: str
    md5: dict[str, str]
    test: str
    labels: bytes
    classes: int


def read(path: Path, variant: CifarVariant) -> Splits:
    """Return the batches in the official folder or archive at `path`.

    Some missing training batches are a warning.

    Raises:
        Refusal: The test batch is missing, or a file is corrupted.
    """
    archive = path if path.is_file() else path / variant.archive
    packed = archive.is_file()
    batches = _archived_batches(archive, variant) if packed else _batches(path, variant)
    missing = [name for name in variant.md5 if name not in batches]
    if variant.test in missing or len(batches) < 2:
        raise Refusal(
            f"{path}: {', '.join(missing)}: missing; "
            f"expected {variant.archive} or a folder with {', '.join(variant.md5)}"
        )
    pool = [name for name in batches if name != variant.test]
    if missing:
        words = f"missing; using {len(pool)} of {len(variant.md5) - 1} training files"
        logger.warning("%s: %s: %s", path, ", ".join(missing), words)
    test = _arrays(path, batches, [variant.test], variant)
    return Splits(_arrays(path, batches, pool, variant), test=test)


def _batches(folder: Path, variant: CifarVariant) -> dict[str, bytes]:
    batches = {}
    for name in variant.md5:
        if (folder / name).is_file():
            with (folder / name).open("rb") as stream:
                batches[name] = read_limited(stream, folder / name)
    return batches


def _archived_batches(path: Path, variant: CifarVariant) -> dict[str, bytes]:
    """Return the batches in the archive, in memory; other members are ignored."""
    with path.open("rb") as stream:
        packed = require_md5(read_limited(stream, path), variant.archive_md5, path)
    members = {f"{variant.folder}/{name}": name for name in variant.md5}
    batches = {}
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r|gz") as archive:
        for member in archive:
            if member.name in members and member.isreg() and (file := archive.extractfile(member)):
                batches[members[member.name]] = read_limited(file, path / member.name)
    return batches


def _arrays(
    path: Path, batches: dict[str, bytes], names: Sequence[str], variant: CifarVariant
) -> Arrays:
    images, labels = [], []
    for name in names:
        content = require_md5(batches[name], variant.md5[name], path / name)
        try:
            batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        except pickle.UnpicklingError as error:
            raise Refusal(f"{path / name}: {error}") from None
        images.append(batch[b"data"].reshape(-1, *SHAPE))
        labels += batch[variant.labels]
    return Arrays(np.concatenate(images), np.array(labels, np.int64), variant.classes)


class _Unpickler(pickle.Unpickler):
    """Load only dictionaries, lists, bytes, numbers and arrays of bytes; run nothing."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"names {module}.{name}; expected only arrays of bytes")
        return ALLOWED[module, name]
