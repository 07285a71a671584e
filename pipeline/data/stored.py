"""Leave images where they are stored, and read them in pieces: they may be larger than the memory.

Few images are arrays in memory. Many are `StoredImages`: each use reads the images that it needs
from a mapped file. Pages of the file are released after they are read. They remain in the disk
cache and do not count as memory of a process.
"""

import math
import mmap
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

IN_MEMORY = 256 << 20  # bytes of images up to which they are an array in memory
PIECE = 16 << 20  # bytes read at once
SCATTERED = 64  # images read at once in any order: each may map 2 MB of a file

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Images of which parts are read as arrays, by a slice or by indices.

    Attributes:
        read: Returns the images at indices.
        shape: The shape of all images: (N, channels, height, width).
        dtype: Their type.
    """

    read: Callable[[Indices], NDArray[Any]]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        """Return the number of images."""
        return self.shape[0]

    def __getitem__(self, chosen: slice | Indices) -> NDArray[Any]:
        """Return images (n, channels, height, width) in memory."""
        if isinstance(chosen, slice):
            chosen = np.arange(*chosen.indices(len(self)))
        images = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        size = piece_size(self)
        for start in range(0, len(chosen), size):
            images[start : start + size] = self.read(chosen[start : start + size])
        return images


Images = NDArray[Any] | StoredImages


def fit_in_memory(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Return whether images of this shape become an array in memory; rows of a table always do."""
    return shape[2:] == (1, 1) or math.prod(shape) * dtype.itemsize <= IN_MEMORY


def release(images: Images) -> None:
    """Release the pages that were read of the file from which an array is mapped."""
    file = _mapped_file(images)
    if file is not None and hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)


def _mapped_file(images: Images) -> mmap.mmap | None:
    """Return the file that an array is mapped from, None for one in memory."""
    owner: Any = images
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return owner if isinstance(owner, mmap.mmap) else None


def piece_size(images: Images) -> int:
    """Return the number of images that are read at once."""
    return max(1, PIECE // max(1, math.prod(images.shape[1:]) * images.dtype.itemsize))


def pieces(images: Images) -> Iterator[NDArray[Any]]:
    """Yield the images in their order, as arrays of a few MB."""
    size = piece_size(images)
    for start in range(0, len(images), size):
        yield images[start : start + size]
        release(images)


def extremes(images: Images) -> tuple[float, float]:
    """Return the lowest and the highest level; NaN if there is one."""
    bounds = [(piece.min(), piece.max()) for piece in pieces(images)]
    lowest, highest = zip(*bounds, strict=True)
    return float(np.min(lowest)), float(np.max(highest))


def taken(images: Images, indices: Indices) -> Images:
    """Return the images at indices."""
    shape = (len(indices), *images.shape[1:])
    if fit_in_memory(shape, images.dtype):
        return gathered(images, indices)
    return StoredImages(lambda chosen: gathered(images, indices[chosen]), shape, images.dtype)


def gathered(images: Images, indices: Indices) -> NDArray[Any]:
    """Return the images at indices in memory."""
    if isinstance(images, np.ndarray) and _mapped_file(images) is None:
        return images[indices]
    part = np.empty((len(indices), *images.shape[1:]), images.dtype)
    for start in range(0, len(indices), SCATTERED):
        some = slice(start, start + SCATTERED)
        part[some] = images[indices[some]]
        release(images)
    return part


def bounded(images: Images) -> Images:
    """Return the images, of which many are only read in parts."""
    fit = fit_in_memory(images.shape, images.dtype)
    return images if fit else taken(images, np.arange(len(images)))


def changed(
    images: Images, change: Callable[[NDArray[Any]], NDArray[Any]], dtype: np.dtype[Any]
) -> Images:
    """Return the images with a change of each level by itself, in another type."""
    if isinstance(images, np.ndarray) and fit_in_memory(images.shape, dtype):
        return change(images)

    def read(chosen: Indices) -> NDArray[Any]:
        part = change(images[chosen])
        release(images)
        return part

    return StoredImages(read, images.shape, dtype)


def joined(first: Images, second: Images) -> Images:
    """Return images of one type, one after the other."""
    number = len(first)
    shape = (number + len(second), *first.shape[1:])
    if fit_in_memory(shape, first.dtype):
        return np.concatenate([first[:], second[:]])

    def read(chosen: Indices) -> NDArray[Any]:
        part = np.empty((len(chosen), *shape[1:]), first.dtype)
        early = chosen < number
        part[early] = first[chosen[early]]
        part[~early] = second[chosen[~early] - number]
        release(first)
        release(second)
        return part

    return StoredImages(read, shape, first.dtype)


def collected(
    parts: Iterable[NDArray[Any]], shape: tuple[int, ...], dtype: np.dtype[Any], folder: Path
) -> NDArray[Any]:
    """Return parts as one array: in memory, or mapped from a file in the folder.

    Raises:
        OSError: The disk is full, or the folder is not writable.
    """
    if not fit_in_memory(shape, dtype):
        return mapped((np.ascontiguousarray(part).data for part in parts), shape, dtype, folder)
    images, start = np.empty(shape, dtype), 0
    for part in parts:
        images[start : start + len(part)] = part
        start += len(part)
    return images


def mapped(
    contents: Iterable[bytes | memoryview],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    folder: Path,
    order: Literal["C", "F"] = "C",
) -> NDArray[Any]:
    """Return contents, one after the other, as an array mapped from a file in the folder.

    The file has no name, so nothing is left of it when the program ends or is killed.

    Raises:
        OSError: The disk is full, or the folder is not writable; the error names the folder.
        ValueError: The contents are too few.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for content in contents:
                file.write(content)
            file.flush()
            return np.memmap(file, dtype, "r", shape=shape, order=order)
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise
