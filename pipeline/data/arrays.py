"""What every data source gives: images and labels as arrays.

Separate so that sources and their users share one shape and one range of values.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BRIGHTEST = 255
TOGETHER = 1000  # examples copied at once


@dataclass(frozen=True)
class Kind:
    """What is known of a dataset before it is read: `shape` (channels, height, width), the number of classes, and whether the
    mirror image of an example has its label."""

    shape: tuple[int, ...]
    classes: int
    flips_keep_labels: bool


@dataclass(frozen=True)
class Arrays:
    """`images` (N, channels, height, width) float32 in [0, 1], or bytes of which 255 stands for 1; `labels` (N,) int64.

    Labels are in 0..classes-1. The last `validation` examples are for validation, as the dataset has it; 0: every seed draws.
    """

    images: NDArray[np.float32] | NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: int
    validation: int = 0

    def mistakes(self, kind: Kind) -> Iterator[str]:
        """What is not as promised, a line each."""
        images, labels = self.images, self.labels
        if images.ndim == 4 and (self.shape, self.classes) != (kind.shape, kind.classes):
            promised = f"{kind.shape} in {kind.classes} classes"
            yield f"images are {self.shape} in {self.classes} classes; allowed is what describe() says, {promised}"
        if images.dtype not in (np.float32, np.uint8) or images.ndim != 4:
            yield f"images are {images.dtype} {images.shape}; allowed is float32 or uint8 (N, channels, height, width)"
        elif images.dtype == np.float32 and not (images.min() >= 0 and images.max() <= 1):
            yield f"images range from {images.min():g} to {images.max():g}; allowed is 0 to 1"
        if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            yield f"labels are {labels.dtype} {labels.shape}; allowed is int64 ({len(images)},), one for each image"
        elif labels.min() < 0 or labels.max() >= self.classes:
            yield f"labels range from {labels.min()} to {labels.max()}; allowed is 0 to {self.classes - 1}"

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width) of an image."""
        return self.images.shape[1:]

    def with_validation(self, held: "Arrays") -> "Arrays":
        """These examples and, after them, those that are for validation."""
        images, labels = (
            np.concatenate([getattr(self, name), getattr(held, name)])
            for name in ("images", "labels")
        )
        return Arrays(images, labels, self.classes, len(held.labels))

    def take(self, indices: NDArray[np.int64]) -> "Arrays":
        """The examples at `indices`, in that order."""
        return Arrays(self.images[indices], self.labels[indices], self.classes)

    def laid_out(self, indices: NDArray[np.int64]) -> "Arrays":
        """The same, colour images with their channels last in memory, as networks want them: one copy in place of two."""
        channels, height, width = self.shape
        if channels == 1:
            return self.take(indices)
        images = np.empty((len(indices), height, width, channels), self.images.dtype).transpose(
            0, 3, 1, 2
        )
        for start in range(0, len(indices), TOGETHER):
            images[start : start + TOGETHER] = self.images[indices[start : start + TOGETHER]]
        if isinstance(self.images, np.memmap) and hasattr(
            mmap, "MADV_DONTNEED"
        ):  # what was read of a file is not kept as well
            self.images._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]  # not in its stubs
        return Arrays(images, self.labels[indices], self.classes)


@dataclass(frozen=True)
class Parts:
    """All examples of a dataset: `pool`, and what it sets apart itself, for validation and for the test."""

    pool: Arrays
    validation: Arrays | None = None
    test: Arrays | None = None
