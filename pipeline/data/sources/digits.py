"""The digits of scikit-learn: 1,797 real 8x8 grayscale images, ten classes.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (test part).
"""

import numpy as np

from pipeline.config.settings import Settings
from pipeline.data.arrays import Arrays, DatasetInfo, Splits

MAX_PIXEL = 16.0


class Source(Settings):
    """No settings: the images are part of scikit-learn."""


def describe(source: Source) -> DatasetInfo:
    """Return shape and classes; flipping does not preserve labels."""
    return DatasetInfo((1, 8, 8), 10, flips_keep_labels=False)


def read(source: Source) -> Splits:
    """Return all 1,797 images, pixel values divided by their largest possible value."""
    from sklearn.datasets import load_digits  # slow to import

    bunch = load_digits()
    images = (bunch.images / MAX_PIXEL).astype(np.float32)[:, None]
    return Splits(Arrays(images, bunch.target.astype(np.int64), 10))
