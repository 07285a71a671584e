"""Images and labels in NumPy files: one .npz file with `images` and `labels`, or an .npy of each.

An .npz file may have its own splits: `validation_images` and `validation_labels`, `test_images`
and `test_labels`.
"""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from pipeline.config.settings import Settings
from pipeline.data.arrays import Arrays, DatasetInfo, Splits
from pipeline.data.numpy_files import ArrayFile, list_arrays
from pipeline.data.paths import data_path
from pipeline.runtime.errors import Refusal

PREFIXES = {"pool": "", "validation": "validation_", "test": "test_"}
CHANNEL_AXIS = {"NHWC": 3, "NCHW": 1}
CHANNELS = (1, 3)  # lengths by which an axis is recognized as the channels

Pair = tuple[ArrayFile, ArrayFile]  # images, labels


class Source(Settings):
    """Where the arrays are, and the layout of the images where their shape leaves it open."""

    path: str | None = None
    images: str | None = None
    labels: str | None = None
    layout: Literal["NHW", "NHWC", "NCHW"] | None = None
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


def read(source: Source) -> Splits:
    """Return all examples; images of an .npy file are mapped, not loaded."""
    pairs = _pairs(source)
    classes = _classes(pairs["pool"][1])
    return Splits(**{name: _arrays(*pair, classes, source) for name, pair in pairs.items()})


def _arrays(images: ArrayFile, labels: ArrayFile, classes: int, source: Source) -> Arrays:
    values = labels.read()
    if values.min() < 0 or values.max() >= classes:
        raise Refusal(
            f"{labels}: range from {values.min()} to {values.max()}; "
            f"expected 0 to {classes - 1}, the labels of the pool"
        )
    layout = _layout(images, source.layout)
    pixels = _pixels(images)
    pixels = pixels[:, None] if layout == "NHW" else np.moveaxis(pixels, CHANNEL_AXIS[layout], 1)
    return Arrays(pixels, values.astype(np.int64), classes)


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
        _require_pair(images, labels)
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
                f"{data_path(path)}: {', '.join(missing)}: missing; expected images and labels, "
                "and optional test_ and validation_ pairs"
            )
        if not missing:
            pairs[split] = arrays[names[0]], arrays[names[1]]
    return pairs


def _require_pair(images: ArrayFile, labels: ArrayFile) -> None:
    """Check that the headers can be those of images and their labels.

    Raises:
        Refusal: They cannot.
    """
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise Refusal(
            f"{images}: type {images.dtype}; expected uint8 in 0 to 255, or floats in 0 to 1"
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise Refusal(
            f"{labels}: {labels.dtype} {labels.shape}; "
            f"expected integers {images.shape[:1]}, one for each image"
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


def _pixels(images: ArrayFile) -> NDArray[Any]:
    pixels = images.read()
    if pixels.dtype == np.uint8:
        return pixels
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 1):  # NaN fails too
        raise Refusal(
            f"{images}: range from {low:g} to {high:g}; expected 0 to 1, or uint8 for 0 to 255"
        )
    return pixels.astype(np.float32, copy=False)


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
