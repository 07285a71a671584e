"""The four idx files of MNIST and of datasets in its format: 28x28 grayscale images, ten classes.

A file holds four bytes for the type and number of dimensions, four for each dimension, and the
values, one byte each.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998.
"""

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.arrays import Arrays, Splits
from pipeline.data.sources._download import read_limited, require_md5
from pipeline.runtime.errors import Refusal

EXAMPLES = {"train": 60_000, "t10k": 10_000}
SHAPE = (28, 28)
CLASSES = 10
FILES = tuple(
    f"{part}-{kind}-ubyte" for part in EXAMPLES for kind in ("images-idx3", "labels-idx1")
)
PACKED = tuple(f"{name}.gz" for name in FILES)


def read(folder: Path, md5: Mapping[str, str]) -> Splits:
    """Return both parts of the dataset.

    A file may be packed by gzip; the checksum is that of its content.

    Raises:
        Refusal: A file is missing, or its md5 is not the published one.
    """
    pool, test = (_arrays(folder, part, md5) for part in EXAMPLES)
    return Splits(pool, test=test)


def _arrays(folder: Path, part: str, md5: Mapping[str, str]) -> Arrays:
    count = EXAMPLES[part]
    images, labels = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    pixels = _values(folder, images, (count, *SHAPE), md5[images])
    classes = _values(folder, labels, (count,), md5[labels])
    return Arrays(pixels[:, None], classes.astype(np.int64), CLASSES)


def _values(folder: Path, name: str, shape: tuple[int, ...], md5: str) -> NDArray[np.uint8]:
    header = 4 * (1 + len(shape))
    files = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if not files:
        raise Refusal(
            f"{folder}: {name} and {name}.gz: missing; expected a folder with {', '.join(FILES)}"
        )
    path = files[0]
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = read_limited(stream, path, header + math.prod(shape))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Refusal(
            f"{path}: incomplete gzip file ({error}); expected the published file"
        ) from None
    require_md5(content, md5, path)  # proves the header as well
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
