"""Arrays in .npy and .npz files: their shapes and types are known before they are read.

Separate because a file from elsewhere is not to be trusted: no objects, and nothing that unpacks to more than memory holds.
"""

import errno
import math
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from pipeline.runtime.errors import Refusal

COPIES = 2  # of an unpacked array that memory has to hold: what is cut into parts is there twice meanwhile


@dataclass(frozen=True)
class Stored:
    """One array in a file: `member` of an .npz file, or all of an .npy file."""

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{self.path}: {self.member}" if self.member else str(self.path)

    def read(self) -> NDArray[Any]:
        """The array: from an .npy file mapped, so that what is not used is not read. Raises Refusal where it is damaged."""
        self._require_room()
        with _refused(self.path):
            if not self.member:
                return np.load(self.path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
            with np.load(self.path, allow_pickle=False) as file:
                return file[self.member]  # type: ignore[no-any-return]

    def _require_room(self) -> None:
        size, room = (
            math.prod(self.shape) * self.dtype.itemsize,
            psutil.virtual_memory().available // COPIES,
        )
        if self.member and size > room:
            allowed = f"allowed are {room >> 20}, half of the memory that is free, or .npy files, which are not unpacked"
            raise Refusal(f"{self}: unpacks to {size >> 20} MB; {allowed}")


def stored(path: Path) -> dict[str, Stored]:
    """Name -> array of an .npz file; an .npy file has one, with no name. Raises Refusal."""
    if not path.is_file():
        raise Refusal(
            f"{path}: does not exist; allowed is an .npz file, or an .npy file of images and one of labels"
        )
    with _refused(path):
        if not zipfile.is_zipfile(path):
            with path.open("rb") as stream:
                return {"": _stored(path, "", stream)}
        with zipfile.ZipFile(path) as archive:
            names = [
                name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")
            ]
            return {name: _member(path, archive, name) for name in names}


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> Stored:
    with archive.open(f"{name}.npy") as stream:
        return _stored(path, name, stream)


def _stored(path: Path, member: str, stream: IO[bytes]) -> Stored:
    header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(stream)
    if version not in header:
        raise ValueError(f"version {version} of the format, which numbers do not need")
    shape, _, dtype = header[version](stream)
    return Stored(path, member, shape, dtype)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """What reading a file that is not what it should be can raise, as one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what NumPy warns of, it can read or raises
            yield
    except (
        Exception
    ) as error:  # a damaged file can raise nearly anything in NumPy and in what unpacks
        if isinstance(error, MemoryError) or (
            isinstance(error, OSError) and error.errno == errno.ENOMEM
        ):
            raise Refusal(
                f"{path}: does not fit into the memory there is; allowed are .npy files, or fewer images"
            ) from None
        if isinstance(error, OSError) and error.errno:  # of the disk
            raise
        raise Refusal(
            f"{path}: not an array NumPy can read, or damaged: {_why(error)}; allowed is what numpy.save writes"
        ) from None


def _why(error: Exception) -> str:
    """NumPy's words, but for its advice to trust the file all the same."""
    if "allow_pickle" in str(error):
        return "it holds objects, or a longer header than numbers need"
    return str(error) or type(error).__name__
