"""What every data source gives: images and labels as arrays.

Separate so that sources and their users share one shape and one range of values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Arrays:
    """`images` (N, channels, height, width) float32 in [0, 1]; `labels` (N,) int64 in 0..classes-1."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width) of an image."""
        return self.images.shape[1:]

    def take(self, indices: NDArray[np.int64]) -> "Arrays":
        """The examples at `indices`, in that order."""
        return Arrays(self.images[indices], self.labels[indices], self.classes)
