"""Read arrays in untrusted .npy and .npz files: shapes and types before the arrays.

No file may load objects, or unpack to more than the memory holds.
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

COPIES = 2  # of an unpacked array in memory: while it is split it exists twice
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class ArrayFile:
    """One array in a file: `member` of an .npz file, or all of an .npy file."""

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        """Return the file and the member, for error messages."""
        return f"{self.path}: {self.member}" if self.member else str(self.path)

    def read(self) -> NDArray[Any]:
        """Return the array; that of an .npy file is mapped, so unused parts are not read.

        Raises:
            Refusal: The file is damaged, or the array exceeds the free memory.
        """
        size = math.prod(self.shape) * self.dtype.itemsize
        limit = psutil.virtual_memory().available // COPIES
        if self.member and size > limit:
            raise Refusal(
                f"{self}: unpacks to {size >> 20} MB; expected <= {limit >> 20} MB, half of the "
                "free memory, or .npy files, which are not unpacked"
            )
        with _read_errors(self.path):
            if not self.member:
                return np.load(self.path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
            with np.load(self.path, allow_pickle=False) as file:
                return file[self.member]  # type: ignore[no-any-return]


def list_arrays(path: Path) -> dict[str, ArrayFile]:
    """Return the arrays of an .npz file by name; that of an .npy file has the name ""."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "missing"
        raise Refusal(
            f"{path}: {found}; expected an .npz file, or .npy files of images and of labels"
        )
    with _read_errors(path):
        if not zipfile.is_zipfile(path):
            with path.open("rb") as stream:
                return {"": _header(path, "", stream)}
        headers = {}
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith(".npy"):
                    name = member.removesuffix(".npy")
                    with archive.open(member) as stream:
                        headers[name] = _header(path, name, stream)
        return headers


def _header(path: Path, member: str, stream: IO[bytes]) -> ArrayFile:
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"format version {version}, which numeric arrays do not need")
    shape, _, dtype = HEADERS[version](stream)
    return ArrayFile(path, member, shape, dtype)


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Turn what a damaged file raises into one line; errors of the disk pass."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy reads what it warns of, or raises
            yield
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
            f"{path}: damaged, or not an array for NumPy: {reason}; "
            "expected a file written by numpy.save"
        ) from None
