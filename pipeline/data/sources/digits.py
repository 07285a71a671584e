"""The digits of scikit-learn: 1,797 real grey 8x8 images, ten classes, bundled with the library.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test part).
"""

import numpy as np

from pipeline.config.settings import Settings
from pipeline.data.arrays import Arrays, Kind, Parts

BRIGHTEST = 16.0


class Source(Settings):
    """Nothing to say: the images are part of scikit-learn."""


def describe(source: Source) -> Kind:
    """8x8, grey; a mirrored 2 is no 2."""
    return Kind((1, 8, 8), 10, flips_keep_labels=False)


def read(source: Source) -> Parts:
    """All 1,797 images, pixel values divided by their largest possible value."""
    from sklearn.datasets import load_digits  # here, for it takes as long as torch to import

    bunch = load_digits()
    images = (bunch.images / BRIGHTEST).astype(np.float32)[:, None]
    return Parts(Arrays(images, bunch.target.astype(np.int64), 10))
