"""The four idx files of MNIST, and of the datasets that took over its format: 28x28 grey images in ten classes.

Separate because these datasets differ by their content alone. A file begins with two zero bytes, the type of its values
(8: bytes) and the number of its dimensions, then each dimension in four bytes, most significant first, then the values.
Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.arrays import Arrays, Parts
from pipeline.data.sources._download import bounded, verified
from pipeline.runtime.errors import Refusal

BYTES = 0x0800
EXAMPLES = {"train": 60_000, "t10k": 10_000}
SHAPE = (28, 28)
CLASSES = 10
FILES = tuple(
    f"{part}-{kind}-ubyte" for part in EXAMPLES for kind in ("images-idx3", "labels-idx1")
)
PACKED = tuple(f"{name}.gz" for name in FILES)


def read(folder: Path, sums: Mapping[str, str]) -> Parts:
    """Both parts, each file as it is or packed by gzip; `sums`: the md5 of each, unpacked. Raises Refusal."""
    pool, test = (_part(folder, part, sums) for part in EXAMPLES)
    return Parts(pool, test=test)


def _part(folder: Path, part: str, sums: Mapping[str, str]) -> Arrays:
    count = EXAMPLES[part]
    images, labels = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    pixels = _values(folder, images, (count, *SHAPE), sums[images])
    return Arrays(
        pixels[:, None], _values(folder, labels, (count,), sums[labels]).astype(np.int64), CLASSES
    )


def _values(folder: Path, name: str, shape: tuple[int, ...], md5: str) -> NDArray[np.uint8]:
    header = struct.pack(f">{1 + len(shape)}I", BYTES | len(shape), *shape)
    path, size = _place(folder, name), len(header) + math.prod(shape)
    content = _content(path, size)
    if len(content) != size or not content.startswith(header):
        begin = content[: len(header)].hex()
        allowed = f"{size} bytes that begin with {header.hex()}"
        raise Refusal(
            f"{path}: holds {len(content)} bytes that begin with {begin}; allowed are {allowed}"
        )
    return np.frombuffer(verified(content, md5, path), np.uint8, offset=len(header)).reshape(shape)


def _place(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise Refusal(
        f"{folder}: has neither {name} nor {name}.gz; allowed is a folder with {', '.join(FILES)}"
    )


def _content(path: Path, size: int) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return bounded(stream, path, size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Refusal(
            f"{path}: no whole gzip file ({error}); allowed is the published file"
        ) from None
