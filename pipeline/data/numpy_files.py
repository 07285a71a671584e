"""Read arrays in untrusted .npy and .npz files: shapes and types before the arrays.

No file may load objects, or unpack to more than the disk holds.
"""

import errno
import functools
import math
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.data import stored
from pipeline.data.paths import cache_folder
from pipeline.runtime.errors import Refusal

COPIES = 2  # copies of an unpacked array on the disk: the second one is prepared
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class ArrayFile:
    """One array in a file: `member` of an .npz file, or all of an .npy file."""

    path: Path
    member: str
    shape: tuple[int, ...]
    is_fortran: bool  # whether the first axis varies fastest
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        """Return the file and the member, for error messages."""
        return f"{self.path}: {self.member}" if self.member else str(self.path)

    def read(self) -> NDArray[Any]:
        """Return the array; one in an .npy file, or of many bytes, is mapped: read where used.

        Raises:
            Refusal: The file is corrupted, or unpacks to more than the disk holds.
        """
        with _read_errors(self.path):
            if not self.member:
                return np.load(self.path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
            if self.size > stored.IN_MEMORY:
                return self._unpacked()
            with np.load(self.path, allow_pickle=False) as file:
                return file[self.member]  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        """Return the bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def _unpacked(self) -> NDArray[Any]:
        """Return the array, unpacked to the disk."""
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        limit = shutil.disk_usage(folder).free // COPIES
        if self.size > limit:
            raise Refusal(
                f"{self}: unpacks to {self.size >> 20} MB; expected <= {limit >> 20} MB, half of "
                "the free disk space, or .npy files, which are not unpacked"
            )
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.member}.npy") as stream:
            _header(self.path, self.member, stream)  # the array comes after it
            contents = iter(functools.partial(stream.read, stored.PIECE), b"")
            order: Literal["C", "F"] = "F" if self.is_fortran else "C"
            return stored.mapped(contents, self.shape, self.dtype, folder, order)


def list_arrays(path: Path) -> dict[str, ArrayFile]:
    """Return the arrays of an .npz file by name; the array of an .npy file has the name "".

    Raises:
        Refusal: There is no such file, or it is corrupted.
    """
    if not path.is_file():
        problem = "a folder" if path.is_dir() else "missing"
        raise Refusal(
            f"{path}: {problem}; expected an .npz file, or .npy files of images and of labels"
        )
    with _read_errors(path):
        if zipfile.is_zipfile(path):
            return _archived_arrays(path)
        with path.open("rb") as stream:
            return {"": _header(path, "", stream)}


def _archived_arrays(path: Path) -> dict[str, ArrayFile]:
    """Return the arrays of an .npz file by name."""
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                name = member.removesuffix(".npy")
                with archive.open(member) as stream:
                    arrays[name] = _header(path, name, stream)
    return arrays


def _header(path: Path, member: str, stream: IO[bytes]) -> ArrayFile:
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"format version {version}, which numeric arrays do not need")
    return ArrayFile(path, member, *HEADERS[version](stream))


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Turn an exception by a corrupted file into one line; errors of the disk pass."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns and reads on, or raises
            yield
    except Refusal:
        raise
    except Exception as error:  # nearly any type, from numpy and from decompression
        number = error.errno if isinstance(error, OSError) else None
        if isinstance(error, MemoryError) or number == errno.ENOMEM:
            raise Refusal(
                f"{path}: does not fit into memory; expected .npy files, or fewer images"
            ) from None
        if number:
            raise
        reason = str(error) or type(error).__name__
        if "allow_pickle" in reason:  # numpy advises to trust the file
            reason = "it holds objects, or a longer header than numeric arrays need"
        raise Refusal(
            f"{path}: corrupted, or not an array for NumPy: {reason}; "
            "expected a file written by numpy.save"
        ) from None
