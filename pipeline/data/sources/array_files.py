"""Images and labels as NumPy arrays: one .npz file with `images` and `labels`, or an .npy file of each.

Separate from `numpy_files.py`, which opens them: here is what they have to be. An .npz file may set parts apart, as
`validation_images` and `validation_labels`, `test_images` and `test_labels`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from pipeline.config.settings import Settings
from pipeline.data.arrays import Arrays, Kind, Parts
from pipeline.data.numpy_files import Stored, stored
from pipeline.data.paths import meant
from pipeline.runtime.errors import Refusal

PARTS = {
    "pool": "",
    "validation": "validation_",
    "test": "test_",
}  # part -> how the names of its arrays begin
AXES = {"NHWC": 3, "NCHW": 1}  # layout -> where it has the channels
CHANNELS = (1, 3)  # an axis of that length is taken for them

Pair = tuple[Stored, Stored]  # images, labels


class Source(Settings):
    """Where the arrays are; `layout` says what the axes are, where their lengths do not."""

    path: str | None = None
    images: str | None = None
    labels: str | None = None
    layout: Literal["NHW", "NHWC", "NCHW"] | None = None
    flips_keep_labels: bool = False

    @model_validator(mode="after")
    def _one_file_or_two(self) -> Self:
        if [bool(self.path), bool(self.images), bool(self.labels)] not in (
            [True, False, False],
            [False, True, True],
        ):
            raise ValueError("path of an .npz file, or images and labels, two .npy files")
        return self


def describe(source: Source) -> Kind:
    """From the header of the images and all labels, without reading the images. Raises Refusal."""
    images, labels = _pairs(source)["pool"]
    shape, way = images.shape, _layout(images, source)
    channels = {"NHW": (1, *shape[1:]), "NHWC": (*shape[-1:], *shape[1:-1]), "NCHW": shape[1:]}
    return Kind(channels[way], _classes(labels), source.flips_keep_labels)


def read(source: Source) -> Parts:
    """All examples; images of an .npy file stay where they are until they are used. Raises Refusal."""
    pairs = _pairs(source)
    classes = _classes(pairs["pool"][1])
    return Parts(**{part: _part(*pair, classes, source) for part, pair in pairs.items()})


def _part(images: Stored, labels: Stored, classes: int, source: Source) -> Arrays:
    known = labels.read()
    if known.min() < 0 or known.max() >= classes:
        raise Refusal(
            f"{labels}: range from {known.min()} to {known.max()}; allowed are those of the pool, 0 to {classes - 1}"
        )
    return Arrays(
        _channels_first(_values(images), _layout(images, source)), known.astype(np.int64), classes
    )


def _pairs(source: Source) -> dict[str, Pair]:
    """Part -> its images and labels, of which only the headers were read. Raises Refusal where they are not such."""
    if source.path is None:
        one, other = (stored(meant(path)) for path in (source.images or "", source.labels or ""))
        found = {"images": one, "labels": other}
        if any(list(arrays) != [""] for arrays in found.values()):
            raise Refusal(
                "source.images, source.labels: not .npy files; allowed is source.path for an .npz file"
            )
        pairs = {"pool": (one[""], other[""])}
    else:
        path = meant(source.path)
        pairs = _members(path, stored(path))
    for images, labels in pairs.values():
        _require(images, labels)
        if images.shape[1:] != (shape := pairs["pool"][0].shape)[1:]:
            raise Refusal(
                f"{images}: of shape {images.shape}; allowed is that of the pool's, {shape}, but for their number"
            )
    return pairs


def _members(path: Path, found: Mapping[str, Stored]) -> dict[str, Pair]:
    expected = {part: (f"{start}images", f"{start}labels") for part, start in PARTS.items()}
    given = {
        part: names for part, names in expected.items() if part == "pool" or set(names) & set(found)
    }
    if lacking := [name for names in given.values() for name in names if name not in found]:
        raise Refusal(
            f"{path}: lacks {', '.join(lacking)}; allowed are images and labels, and test_ and validation_ ones in pairs"
        )
    return {part: (found[images], found[labels]) for part, (images, labels) in given.items()}


def _require(images: Stored, labels: Stored) -> None:
    """Raises Refusal where the headers rule out images and labels."""
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise Refusal(
            f"{images}: of type {images.dtype}; allowed are uint8, 0 to 255, and floats in 0 to 1"
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        given = f"{labels.dtype} {labels.shape}"
        raise Refusal(
            f"{labels}: {given}; allowed are integers {images.shape[:1]}, one for each image"
        )
    if 0 in images.shape:
        raise Refusal(f"{images}: of shape {images.shape}, so empty; allowed are images")


def _layout(images: Stored, source: Source) -> str:
    """What the axes of the images are: as told, else by the one axis that can only be the channels. Raises Refusal."""
    shape, told = images.shape, source.layout
    fits = {
        way: len(shape) == 4 and (told == way or shape[axis] in CHANNELS)
        for way, axis in AXES.items()
    }
    fitting = [
        way for way, fit in {"NHW": len(shape) == 3, **fits}.items() if fit and told in (None, way)
    ]
    if len(fitting) != 1:
        allowed = "(N, H, W), or 1 or 3 channels as (N, H, W, C) or (N, C, H, W); source.layout says which"
        found = " and ".join(fitting) or f"no {told or 'known'} layout"
        raise Refusal(f"{images}: of shape {shape}, which fits {found}; allowed is {allowed}")
    return fitting[0]


def _channels_first(images: NDArray[Any], layout: str) -> NDArray[Any]:
    if layout == "NHW":
        return images[:, None]
    return np.moveaxis(images, AXES[layout], 1)


def _values(images: Stored) -> NDArray[Any]:
    values = images.read()
    if values.dtype == np.uint8:
        return values
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):  # nor is anything that is not a number
        raise Refusal(
            f"{images}: range from {low:g} to {high:g}; allowed is 0 to 1, or uint8 for 0 to 255"
        )
    return values.astype(np.float32, copy=False)


def _classes(labels: Stored) -> int:
    """How many classes there are. Raises Refusal where one below the largest label has no example."""
    known = np.unique(labels.read())
    if known[0] < 0:
        raise Refusal(
            f"{labels}: range from {known[0]} to {known[-1]}; allowed are 0 to the number of classes - 1"
        )
    if len(gaps := np.setdiff1d(np.arange(len(known)), known)):
        first = ", ".join(str(gap) for gap in gaps[:5])
        raise Refusal(
            f"{labels}: no example of {first}, the largest label is {known[-1]}; allowed are 0 to k - 1, each of them"
        )
    if len(known) < 2:
        raise Refusal(f"{labels}: one class; allowed are two or more")
    return len(known)
