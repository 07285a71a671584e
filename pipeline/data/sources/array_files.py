"""Images and labels in NumPy files: one .npz file with `images` and `labels`, or an .npy of each.

An .npz file may have its own splits: `validation_images` and `validation_labels`, `test_images`
and `test_labels`.
"""

import logging
import math
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.config.settings import Settings
from pipeline.data.arrays import Arrays, DatasetInfo, Splits
from pipeline.data.numpy_files import ArrayFile, list_arrays
from pipeline.data.paths import data_path
from pipeline.data.stored import Images, changed, extremes
from pipeline.data.white import level_counts, range_note, used_level, without_rounding
from pipeline.runtime.errors import Refusal

PREFIXES = {"pool": "", "validation": "validation_", "test": "test_"}
FULL_RANGES = {"uint8": 255, "uint16": 65535}  # floats: 1
UNKNOWN = ("int8", "int16", "int32", "int64", "uint32", "uint64")  # types whose range is not used
CHANNEL_AXIS = {"NHWC": 3, "NCHW": 1}
CHANNELS = (1, 3)  # lengths by which an axis is recognized as the channels

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
        white: The level that becomes 1, such as 4095 for 12 bits; null: 255 for uint8, 65535 for
            uint16, 1 for floats. Levels above it become 1. A level above 255 does not apply to
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
        given = bool(self.path), bool(self.images), bool(self.labels)
        if given not in ((True, False, False), (False, True, True)):
            raise ValueError("path of an .npz file, or images and labels of two .npy files")
        return self


def describe(source: Source) -> DatasetInfo:
    """Return the shape in the header of the images, and the classes of all labels."""
    images, labels = _pairs(source)["pool"]
    layout = _layout(images, source.layout)
    shape = list(images.shape[1:])
    channels = 1 if layout == "NHW" else shape.pop(CHANNEL_AXIS[layout] - 1)
    return DatasetInfo((channels, *shape), _classes(labels), source.flips_keep_labels)


def labels(source: Source) -> Splits:
    """Return all labels."""
    pairs = _pairs(source)
    classes = _classes(pairs["pool"][1])
    return Splits.of(
        {name: Arrays.unread(_labels(file, classes), classes) for name, (_, file) in pairs.items()}
    )


def read(source: Source) -> Splits:
    """Return all examples; images of an .npy file are mapped, not loaded."""
    pairs = _pairs(source)
    classes = _classes(pairs["pool"][1])
    splits = {name: _arrays(*pair, classes, source) for name, pair in pairs.items()}
    return Splits.of(splits)


def _arrays(images: ArrayFile, labels: ArrayFile, classes: int, source: Source) -> Arrays:
    values = _labels(labels, classes)
    return Arrays(_pixels(images, _layout(images, source.layout), source.white), values, classes)


def _labels(file: ArrayFile, classes: int) -> NDArray[np.int64]:
    values = file.read()
    if values.min() < 0 or values.max() >= classes:
        raise Refusal(
            f"{file}: range from {values.min()} to {values.max()}; "
            f"expected 0 to {classes - 1}, the labels of the pool"
        )
    found: NDArray[np.int64] = values.astype(np.int64)
    return found


def _pairs(source: Source) -> dict[str, Pair]:
    """Return images and labels of each split, of which only the headers are read."""
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
    """Check that the headers can be those of images and their labels.

    Raises:
        Refusal: They cannot.
    """
    if images.dtype.kind not in "iuf" or (white is None and images.dtype.name in UNKNOWN):
        raise Refusal(
            f"{images}: type {images.dtype}; expected uint8 in 0 to 255, uint16 in 0 to 65535, "
            "floats in 0 to 1, or numbers with source.white"
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise Refusal(
            f"{labels}: {labels.dtype} {labels.shape}; "
            f"expected integers {images.shape[:1]}, one for each image of {images.shape}"
        )
    if 0 in images.shape:
        raise Refusal(f"{images}: shape {images.shape}; expected >= 1 image and pixel")


def _layout(images: ArrayFile, declared: str | None) -> str:
    """Return the declared layout, else the one with the only axis that can be the channels."""
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
        found = f"range from {lowest:.7g} to {highest:.7g}"
        if math.isnan(lowest):
            found = "values that are not a number"
        raise Refusal(f"{images}: {found}; expected {expected}")
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
    """Return the highest level but for marks."""
    if counts is None:
        return used_level(pixels, scale)
    present = np.flatnonzero(counts)
    return used_level(present, scale, counts[present])


def _fractions(pixels: NDArray[Any], scale: float) -> NDArray[np.float32]:
    levels: NDArray[np.float32] = np.divide(pixels, scale, dtype=np.float32, casting="unsafe")
    np.minimum(levels, 1, out=levels)
    return levels


def _classes(labels: ArrayFile) -> int:
    """Return the number of classes.

    Raises:
        Refusal: A class has no example.
    """
    present = np.unique(labels.read())
    absent = np.setdiff1d(np.arange(len(present)), present)
    if len(absent):
        raise Refusal(
            f"{labels}: range from {present[0]} to {present[-1]}, no example of "
            f"{', '.join(map(str, absent[:5]))}; expected 0 to k - 1, each with an example"
        )
    if len(present) < 2:
        raise Refusal(f"{labels}: one class; expected >= 2")
    return len(present)
