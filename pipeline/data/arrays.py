"""Define examples and labels as arrays, which every data source returns.

An example is an image, or a row of a table: then each feature is a channel of one pixel, so that
computations per channel of an image are per feature.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.data.stored import (
    Images,
    changed,
    extremes,
    fit_in_memory,
    gathered,
    joined,
    pieces,
    taken,
)

MAX_PIXEL = 255
COPY_CHUNK = 1000  # examples


def is_row(shape: tuple[int, ...]) -> bool:
    """Return whether examples of this shape (channels, height, width) are rows of a table."""
    return shape[1:] == (1, 1)


def noun_of(shape: tuple[int, ...]) -> str:
    """Return the noun for examples of this shape."""
    return "rows" if is_row(shape) else "images"


@dataclass(frozen=True)
class DatasetInfo:
    """The properties of a dataset that are known before its examples are read.

    Attributes:
        shape: (channels, height, width) of an image, (features, 1, 1) of a row.
        classes: The number of classes.
        flips_keep_labels: Whether the mirror image of an example has the same label.
    """

    shape: tuple[int, ...]
    classes: int
    flips_keep_labels: bool


@dataclass(frozen=True)
class Arrays:
    """Examples and their labels.

    `images` (N, channels, height, width) are float32 in [0, 1], or uint8 where 255 stands for 1;
    images that do not fit into memory are read in pieces (`stored.py`). Rows of a table (N,
    features, 1, 1) are float32 in any units, NaN where a value is missing. `labels` (N,) are int64
    in 0..classes-1. The last `validation` examples are the validation set of the dataset itself;
    with 0, every seed draws its own. `groups` (N,) int64 number the groups that no split may
    divide, such as the rows of a patient; None: every example is its own.
    """

    images: Images
    labels: NDArray[np.int64]
    classes: int
    validation: int = 0
    groups: NDArray[np.int64] | None = None

    @classmethod
    def unread(
        cls,
        labels: NDArray[np.int64],
        classes: int,
        validation: int = 0,
        groups: NDArray[np.int64] | None = None,
    ) -> Self:
        """Return examples with images of one black pixel, to check sizes by."""
        return cls(np.zeros((len(labels), 1, 1, 1), np.uint8), labels, classes, validation, groups)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (channels, height, width) of an example."""
        return self.images.shape[1:]

    @property
    def noun(self) -> str:
        """Return the noun for the examples."""
        return noun_of(self.shape)

    def errors(self, info: DatasetInfo) -> Iterator[str]:
        """Yield one line for each difference from this class's contract and from `info`."""
        images, labels = self.images, self.labels
        if images.ndim == 4 and (self.shape, self.classes) != (info.shape, info.classes):
            described = f"{info.shape} in {info.classes} classes"
            yield (
                f"images are {self.shape} in {self.classes} classes; "
                f"expected {described}, as describe() returns"
            )
        if images.dtype not in (np.float32, np.uint8) or images.ndim != 4:
            yield (
                f"images are {images.dtype} {images.shape}; "
                "expected float32 or uint8 (N, channels, height, width)"
            )
        elif is_row(self.shape):
            if any(np.isinf(piece).any() for piece in pieces(images)):
                yield "rows have infinite values; expected numbers, or NaN for missing ones"
        elif images.dtype == np.float32:
            lowest, highest = extremes(images)
            if not (lowest >= 0 and highest <= 1):  # NaN fails too
                yield f"images range from {lowest:.7g} to {highest:.7g}; expected 0 to 1"
        if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            yield f"labels are {labels.dtype} {labels.shape}; expected int64 ({len(images)},)"
        elif labels.min() < 0 or labels.max() >= self.classes:
            yield (
                f"labels range from {labels.min()} to {labels.max()}; "
                f"expected 0 to {self.classes - 1}"
            )

    def with_validation(self, validation: "Arrays") -> "Arrays":
        """Return these examples followed by the validation set of the dataset."""
        images = joined(*_alike(self.images, validation.images))
        labels = np.concatenate([self.labels, validation.labels])
        groups = None
        if self.groups is not None and validation.groups is not None:
            groups = np.concatenate([self.groups, validation.groups])
        return Arrays(images, labels, self.classes, len(validation.labels), groups)

    def take(self, indices: NDArray[np.int64]) -> "Arrays":
        """Return the examples at `indices`, in that order."""
        groups = None if self.groups is None else self.groups[indices]
        images = taken(self.images, indices)
        return Arrays(images, self.labels[indices], self.classes, groups=groups)

    def take_channels_last(self, indices: NDArray[np.int64]) -> "Arrays":
        """Return the examples at `indices`, color images with their channels last in memory.

        Networks use this memory format, so the images are copied once instead of twice. More than
        fit into memory stay where they are stored.
        """
        channels, height, width = self.shape
        dtype = self.images.dtype
        if channels == 1 or not fit_in_memory((len(indices), *self.shape), dtype):
            return self.take(indices)
        copied = np.empty((len(indices), height, width, channels), dtype)
        images = copied.transpose(0, 3, 1, 2)
        for start in range(0, len(indices), COPY_CHUNK):
            stop = start + COPY_CHUNK
            images[start:stop] = gathered(self.images, indices[start:stop])
        return Arrays(images, self.labels[indices], self.classes)


def _alike(first: Images, second: Images) -> tuple[Images, Images]:
    """Return both images as they are if their types are equal, otherwise both as fractions."""
    if first.dtype == second.dtype:
        return first, second
    return _fractions(first), _fractions(second)


def _fractions(images: Images) -> Images:
    if images.dtype != np.uint8:
        return images
    return changed(images, lambda piece: piece / np.float32(MAX_PIXEL), np.dtype(np.float32))


@dataclass(frozen=True)
class Splits:
    """All examples of a dataset.

    Attributes:
        pool: The examples from which splits are drawn.
        validation: Only where the dataset has its own.
        test: The same.
        class_names: In the order of the labels; empty if classes have no names.
        feature_names: In the order of the channels; empty for images.
    """

    pool: Arrays
    validation: Arrays | None = None
    test: Arrays | None = None
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, Arrays],
        class_names: Sequence[str] = (),
        feature_names: Sequence[str] = (),
    ) -> Self:
        """Return the splits given by name: pool, and maybe validation and test."""
        validation, test = arrays.get("validation"), arrays.get("test")
        return cls(arrays["pool"], validation, test, tuple(class_names), tuple(feature_names))

    @property
    def arrays(self) -> dict[str, Arrays]:
        """Return the splits that there are, by name."""
        given = {"pool": self.pool, "validation": self.validation, "test": self.test}
        return {name: arrays for name, arrays in given.items() if arrays is not None}
