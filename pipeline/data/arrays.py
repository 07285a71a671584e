"""What every data source gives: images and labels as arrays.

Separate so that sources and their users share one shape and one range of values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Arrays:
    """`images` (N, channels, height, width) float32 in [0, 1]; `labels` (N,) int64 in 0..classes-1."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: int

    def mistakes(self) -> Iterator[str]:
        """What is not as promised, a line each."""
        images, labels = self.images, self.labels
        if images.dtype != np.float32 or images.ndim != 4:
            yield f"images are {images.dtype} {images.shape}; allowed is float32 (N, channels, height, width)"
        elif not (np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
            yield f"images range from {images.min():g} to {images.max():g}; allowed is 0 to 1"
        if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            yield f"labels are {labels.dtype} {labels.shape}; allowed is int64 ({len(images)},), one for each image"
        elif labels.min() < 0 or labels.max() >= self.classes:
            yield f"labels range from {labels.min()} to {labels.max()}; allowed is 0 to {self.classes - 1}"

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width) of an image."""
        return self.images.shape[1:]

    def take(self, indices: NDArray[np.int64]) -> "Arrays":
        """The examples at `indices`, in that order."""
        return Arrays(self.images[indices], self.labels[indices], self.classes)
