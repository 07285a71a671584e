"""Images and labels in NumPy files: one .npz file with `images` and `labels`, or an .npy of each.

An .npz file may have its own splits: `validation_images` and `validation_labels`, `test_images`
and `test_labels`. Labels are integers, or texts: the names of the classes.
"""

import logging
import math
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.config.settings import Settings
from pipeline.data.arrays import Arrays, DatasetInfo, Splits
from pipeline.data.numpy_files import ArrayFile, list_arrays
from pipeline.data.paths import data_path, printable
from pipeline.data.sources._columns import in_order, similar_names
from pipeline.data.stored import Images, changed, extremes
from pipeline.data.white import level_counts, range_note, used_level, without_rounding
from pipeline.runtime.errors import Refusal

PREFIXES = {"pool": "", "validation": "validation_", "test": "test_"}
FULL_RANGES = {"uint8": 255, "uint16": 65535}  # floats: 1
UNKNOWN = ("int8", "int16", "int32", "int64", "uint32", "uint64")  # types whose range is not used
CHANNEL_AXIS = {"NHWC": 3, "NCHW": 1}
CHANNELS = (1, 3)  # lengths by which an axis is recognized as the channels
NAMED = 5  # classes
IMAGE_CURES = {
    "O": "; np.stack(images) makes one array of images of one size",
    "b": "; images.astype(np.float32) has 0 and 1",
}
LABEL_CURES = {"O": "labels.astype(str)", "b": "labels.astype(int)", "f": "labels.astype(int)"}

logger = logging.getLogger(__name__)

Pair = tuple[ArrayFile, ArrayFile]  # images, labels


class Source(Settings):
    """Where the arrays are, and what their shape and type leave open.

    Attributes:
        path: One `.npz` file with `images` and `labels`.
        images: A `.npy` file, in place of `path`.
        labels: A `.npy` file with the labels of `images`.
        flips_keep_labels: Whether a mirrored image keeps its label.
        layout: The axes of the images; null: the only one that fits the shape.
        white: The level that is scaled to 1, such as 4095 for 12 bits; null: 255 for uint8, 65535
            for uint16, 1 for floats. Levels above it become 1. A level above 255 does not apply to
            uint8.
    """

    path: str | None = None
    images: str | None = None
    labels: str | None = None
    layout: Literal["NHW", "NHWC", "NCHW"] | None = None
    white: float | None = Field(None, gt=0)
    flips_keep_labels: bool = False

    @model_validator(mode="after")
    def _one_file_or_two(self) -> Self:
        places = bool(self.path), bool(self.images), bool(self.labels)
        if places not in ((True, False, False), (False, True, True)):
            raise ValueError("path of an .npz file, or images and labels of two .npy files")
        return self


def describe(source: Source) -> DatasetInfo:
    """Return the shape in the header of the images, and the classes of all labels."""
    images, labels = _pairs(source)["pool"]
    layout = _layout(images, source.layout)
    shape = list(images.shape[1:])
    channels = 1 if layout == "NHW" else shape.pop(CHANNEL_AXIS[layout] - 1)
    return DatasetInfo((channels, *shape), _classes(labels)[0], source.flips_keep_labels)


def labels(source: Source) -> Splits:
    """Return all labels."""
    pairs = _pairs(source)
    classes, names = _classes(pairs["pool"][1])
    splits = {
        split: Arrays.unread(_labels(file, classes, names), classes)
        for split, (_, file) in pairs.items()
    }
    return Splits.of(splits, names)


def read(source: Source) -> Splits:
    """Return all examples; images of an .npy file are mapped, not loaded."""
    pairs = _pairs(source)
    classes, names = _classes(pairs["pool"][1])
    for line in similar_names(names):
        logger.warning("%s: %s", pairs["pool"][1].path, line)
    splits = {}
    for split, (images, file) in pairs.items():
        values = _labels(file, classes, names)
        pixels = _pixels(images, _layout(images, source.layout), source.white)
        splits[split] = Arrays(pixels, values, classes)
    return Splits.of(splits, names)


def _labels(file: ArrayFile, classes: int, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the labels (N,), given the number and the names of the classes of the pool.

    Raises:
        Refusal: There is another class.
    """
    if _is_text(file) != bool(names):
        raise Refusal(f"{file}: {file.dtype}; expected the type of the labels of the pool")
    if names:
        numbers = {name: number for number, name in enumerate(names)}
        written, places = _written(file)
        if others := [name for name in dict.fromkeys(written) if name not in numbers]:
            raise Refusal(
                f"{file}: {_named(others)}: not among the classes of the pool ({_named(names)})"
            )
        return np.array([numbers[name] for name in written], np.int64)[places]
    values = file.read()
    if values.min() < 0 or values.max() >= classes:
        raise Refusal(
            f"{file}: range from {values.min()} to {values.max()}; "
            f"expected 0 to {classes - 1}, the labels of the pool"
        )
    labels: NDArray[np.int64] = values.astype(np.int64)
    return labels


def _pairs(source: Source) -> dict[str, Pair]:
    """Return images and labels of each split; only their headers are read."""
    if source.path is not None:
        pairs = _members(source.path)
    else:
        files = [list_arrays(data_path(path or "")) for path in (source.images, source.labels)]
        if any(list(arrays) != [""] for arrays in files):
            raise Refusal(
                "source.images, source.labels: not .npy files; "
                "expected .npy files, or source.path of an .npz file"
            )
        pairs = {"pool": (files[0][""], files[1][""])}
    shape = pairs["pool"][0].shape
    for images, labels in pairs.values():
        _require_pair(images, labels, source.white)
        if images.shape[1:] != shape[1:]:
            raise Refusal(
                f"{images}: shape {images.shape}; expected (N, {', '.join(map(str, shape[1:]))}) "
                "as in the pool"
            )
    return pairs


def _members(path: str) -> dict[str, Pair]:
    arrays = list_arrays(data_path(path))
    pairs = {}
    for split, prefix in PREFIXES.items():
        names = f"{prefix}images", f"{prefix}labels"
        missing = [name for name in names if name not in arrays]
        if missing and (split == "pool" or len(missing) == 1):
            raise Refusal(
                f"{data_path(path)}: {', '.join(missing)}: missing among {', '.join(arrays)}; "
                "expected images and labels, and optional test_ and validation_ pairs"
            )
        if not missing:
            pairs[split] = arrays[names[0]], arrays[names[1]]
    return pairs


def _require_pair(images: ArrayFile, labels: ArrayFile, white: float | None) -> None:
    """Check that the headers can belong to images and their labels.

    Raises:
        Refusal: They cannot.
    """
    if images.dtype.kind not in "iuf" or (white is None and images.dtype.name in UNKNOWN):
        raise Refusal(
            f"{images}: type {images.dtype}; expected uint8 in 0 to 255, uint16 in 0 to 65535, "
            "floats in 0 to 1, or numbers with source.white"
            f"{IMAGE_CURES.get(images.dtype.kind, '')}"
        )
    if labels.dtype.kind not in "iuSU" or labels.shape != images.shape[:1]:
        raise Refusal(
            f"{labels}: {labels.dtype} {labels.shape}; "
            f"expected integers or texts {images.shape[:1]}, one for each image of {images.shape}"
            f"{_label_cure(labels, images.shape[0])}"
        )
    if 0 in images.shape:
        raise Refusal(f"{images}: shape {images.shape}; expected >= 1 image and pixel")


def _layout(images: ArrayFile, declared: str | None) -> str:
    """Return the declared layout, or the only layout whose channel axis fits the shape."""
    shape = images.shape
    fitting = ["NHW"] if len(shape) == 3 else []
    if len(shape) == 4:
        for layout, axis in CHANNEL_AXIS.items():
            if declared == layout or shape[axis] in CHANNELS:
                fitting.append(layout)
    if declared:
        fitting = [layout for layout in fitting if layout == declared]
    if len(fitting) != 1:
        fits = " and ".join(fitting) or f"no {declared or 'known'} layout"
        raise Refusal(
            f"{images}: shape {shape} fits {fits}; expected (N, H, W), or 1 or 3 channels as "
            "(N, H, W, C) or (N, C, H, W), or source.layout"
        )
    return fitting[0]


def _pixels(images: ArrayFile, layout: str, white: float | None) -> Images:
    """Return the images (N, channels, height, width) as uint8, or as float32 in 0 to 1."""
    read = images.read()
    pixels: Images = (
        read[:, None] if layout == "NHW" else np.moveaxis(read, CHANNEL_AXIS[layout], 1)
    )
    full = FULL_RANGES.get(pixels.dtype.name, 1)
    scale = full if white is None or (white > full and pixels.dtype == np.uint8) else white
    if pixels.dtype.kind == "f" and scale == 1:
        pixels = without_rounding(pixels)
    counts = level_counts(pixels)
    lowest, highest = extremes(pixels if counts is None else np.flatnonzero(counts))
    if not (lowest >= 0 and highest <= (full if white is None else math.inf)):  # NaN fails too
        expected = "0 to 1, uint8 for 0 to 255, or source.white" if white is None else ">= 0"
        # digits that show a highest level of 1.000001
        problem = f"range from {lowest:.7g} to {highest:.7g}"
        if math.isnan(lowest):
            problem = "values that are not a number"
        elif lowest < 0:
            expected += ", as images have it before they are normalized"
        raise Refusal(f"{images}: {problem}; expected {expected}")
    if note := range_note(_used(pixels, counts, scale), scale):
        logger.warning("%s: %s%s", images.path, f"{images.member}: " if images.member else "", note)
    if pixels.dtype == np.uint8 and scale == full:
        return pixels
    if scale == 1 and highest <= 1:
        return changed(
            pixels, lambda piece: piece.astype(np.float32, copy=False), np.dtype(np.float32)
        )
    return changed(pixels, lambda piece: _fractions(piece, scale), np.dtype(np.float32))


def _used(pixels: Images, counts: NDArray[np.int64] | None, scale: float) -> float:
    """Return the highest level, without marks."""
    if counts is None:
        return used_level(pixels, scale)
    present = np.flatnonzero(counts)
    return used_level(present, scale, counts[present])


def _fractions(pixels: NDArray[Any], scale: float) -> NDArray[np.float32]:
    levels: NDArray[np.float32] = np.divide(pixels, scale, dtype=np.float32, casting="unsafe")
    np.minimum(levels, 1, out=levels)
    return levels


def _label_cure(labels: ArrayFile, images: int) -> str:
    """Return a remedy for labels of another type or shape, "" if none is known."""
    if labels.shape == (images, 1):
        return "; labels[:, 0] has this shape"
    if labels.shape[:1] == (images,) and len(labels.shape) == 2:
        return "; labels.argmax(axis=1) does that for one column per class"
    cure = LABEL_CURES.get(labels.dtype.kind)
    return f"; {cure} does that" if cure and labels.shape == (images,) else ""


def _classes(labels: ArrayFile) -> tuple[int, tuple[str, ...]]:
    """Return the number of classes, and their names if labels are texts.

    Raises:
        Refusal: There is one class, or a class has no example.
    """
    names: tuple[str, ...] = ()
    if _is_text(labels):
        names = in_order(set(_written(labels)[0]))
        count = len(names)
    else:
        present = np.unique(labels.read())
        count = len(present)
        if len(absent := np.setdiff1d(np.arange(count), present)):
            raise Refusal(
                f"{labels}: range from {present[0]} to {present[-1]}, no example of "
                f"{', '.join(map(str, absent[:NAMED]))}; expected 0 to k - 1, each with an "
                "example, as np.unique(labels, return_inverse=True)[1] has them"
            )
    if count < 2:
        raise Refusal(f"{labels}: one class; expected >= 2")
    return count, names


def _is_text(labels: ArrayFile) -> bool:
    return labels.dtype.kind in "SU"


def _written(labels: ArrayFile) -> tuple[list[str], NDArray[np.int64]]:
    """Return the texts that occur, in NFC and without spaces around, and the place of each label.

    Two texts may be equal then.

    Raises:
        Refusal: A label is empty, or no text.
    """
    distinct, places = np.unique(labels.read(), return_inverse=True)
    try:
        texts = [text.decode() if isinstance(text, bytes) else text for text in distinct.tolist()]
        for text in texts:
            text.encode()  # an array may hold halves of characters
    except UnicodeError:
        raise Refusal(f"{labels}: not UTF-8; expected texts or integers") from None
    written = [unicodedata.normalize("NFC", text).strip() for text in texts]
    empty = np.isin(places, [place for place, text in enumerate(written) if not text])
    if empty.any():
        raise Refusal(
            f"{labels}: {int(empty.sum())} of {len(places)} labels are empty, the first is that of "
            f"image {int(empty.argmax())}; expected a class for each image"
        )
    return written, places


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} others" if len(names) > NAMED else ""
    return printable(", ".join(names[:NAMED])) + more
