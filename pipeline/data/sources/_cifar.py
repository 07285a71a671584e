"""The batches of CIFAR-10 and CIFAR-100, Python version: 32x32 colour images, in the official folder or archive.

Separate because both have one format: pickled dictionaries. Unpickling runs what a file names, so a batch is unpickled
once its md5 is the published one, and even then by a reader that knows three names, none of which can do harm. An
archive is never unpacked onto the disk.
Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import io
import pickle
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.arrays import Arrays, Parts
from pipeline.data.remarks import remark
from pipeline.data.sources._download import bounded, verified
from pipeline.runtime.errors import Refusal

SHAPE = (3, 32, 32)
KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: np.empty(0, np.uint8),
    ("numpy", "dtype"): lambda *_: np.dtype(np.uint8, copy=True),
    ("numpy", "ndarray"): None,  # an argument of the first, which needs none
}


@dataclass(frozen=True)
class Edition:
    """An official folder: its archive and that one's md5, the md5 of each batch, the batch for the test, the labels' key."""

    folder: str
    archive: str
    packed: str
    sums: dict[str, str]
    test: str
    labels: bytes
    classes: int


def read(place: Path, edition: Edition) -> Parts:
    """The batches in the official folder or archive at `place`. Where some are missing, the others with a warning."""
    archive = place if place.is_file() else place / edition.archive
    files = _unpacked(archive, edition) if archive.is_file() else _files(place, edition)
    missing = [name for name in edition.sums if name not in files]
    if edition.test in missing or len(files) < 2:
        allowed = f"{edition.archive} or a folder with {', '.join(edition.sums)}"
        raise Refusal(f"{place}: has no {', '.join(missing)}; allowed is {allowed}")
    if missing:
        remark(place, f"has no {', '.join(missing)}: a part of the dataset", kind="warning: ")
    pool = [name for name in files if name != edition.test]
    return Parts(
        _arrays(place, files, pool, edition), test=_arrays(place, files, [edition.test], edition)
    )


def _files(folder: Path, edition: Edition) -> dict[str, bytes]:
    found = {}
    for name in edition.sums:
        if (folder / name).is_file():
            with (folder / name).open("rb") as stream:
                found[name] = bounded(stream, folder / name)
    return found


def _unpacked(path: Path, edition: Edition) -> dict[str, bytes]:
    """The batches in the archive, in memory: other members are passed over, whatever they are."""
    with path.open("rb") as stream:
        packed = verified(bounded(stream, path), edition.packed, path)
    wanted = {f"{edition.folder}/{name}": name for name in edition.sums}
    found = {}
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r|gz") as archive:
        for member in archive:
            if member.name in wanted and member.isreg() and (file := archive.extractfile(member)):
                found[wanted[member.name]] = bounded(file, path / member.name)
    return found


def _arrays(place: Path, files: dict[str, bytes], names: Iterable[str], edition: Edition) -> Arrays:
    batches = [
        _batch(verified(files[name], edition.sums[name], place / name), place / name)
        for name in names
    ]
    images = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, *SHAPE)
    labels = np.concatenate([np.array(batch[edition.labels], np.int64) for batch in batches])
    return Arrays(images, labels, edition.classes)


def _batch(content: bytes, name: Path) -> dict[bytes, Any]:
    try:
        batch: dict[bytes, Any] = _Restricted(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise Refusal(f"{name}: {error}") from None
    return batch


class _Restricted(pickle.Unpickler):
    """Gives dictionaries, lists, bytes, numbers and arrays of bytes, and runs nothing that a file names."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for what the official batches name; anything else ends the reading."""
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(
                f"asks for {module}.{name}; allowed are arrays of bytes alone"
            )
        return KNOWN[module, name]
