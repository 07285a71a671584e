"""Fill in missing values in rows of a table, from the training rows of a run only.

A feature with one value in all training rows carries no information about the classes. Other rows
may have another value, such as a category that occurs in no training row, for which nothing was
learned. The feature is therefore set to 0 in every row, which leaves it out.
"""

import dataclasses
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.data.arrays import Arrays, is_row
from pipeline.data.stored import Images, StoredImages

CHUNK = 1000  # rows


@dataclass(frozen=True)
class Filling:
    """The values that complete rows; None for images, which have no missing values.

    Attributes:
        means: (features, 1, 1) The mean of each feature over the training rows that have it.
        constant: (features, 1, 1) Whether it has one value in all of them, or none.
    """

    means: NDArray[np.float32] | None
    constant: NDArray[np.bool_] | None

    @classmethod
    def of(cls, images: Images) -> Self:
        """Return the filling that the training rows (N, features, 1, 1) give."""
        is_table = is_row(images.shape[1:]) and images.dtype == np.float32
        if isinstance(images, StoredImages) or not is_table:
            return cls(None, None)
        present = ~np.isnan(images)
        counts = present.sum(axis=0)
        sums = np.where(present, images, 0).sum(axis=0, dtype=np.float64)
        lowest = np.where(present, images, np.inf).min(axis=0)
        highest = np.where(present, images, -np.inf).max(axis=0)
        constant = lowest >= highest  # without any value the lowest is infinite
        means = np.where(constant, 0, sums / np.maximum(counts, 1))
        return cls(means.astype(np.float32), constant)

    def rows(self, images: Images) -> Images:
        """Return rows (N, features, 1, 1) without missing values; images as they are."""
        if self.means is None or self.constant is None or isinstance(images, StoredImages):
            return images
        filled = np.empty_like(images)
        for start in range(0, len(images), CHUNK):
            part = images[start : start + CHUNK]
            complete = np.where(np.isnan(part), self.means, part)
            filled[start : start + CHUNK] = np.where(self.constant, 0, complete)
        return filled

    def apply(self, arrays: Arrays) -> Arrays:
        """Return examples without missing values."""
        if self.means is None:
            return arrays
        return dataclasses.replace(arrays, images=self.rows(arrays.images))
