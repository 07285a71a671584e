"""The digits of scikit-learn: 1,797 real grey 8x8 images, ten classes, bundled with the library.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test part).
"""

import numpy as np
from sklearn.datasets import load_digits

from pipeline.data.arrays import Arrays

BRIGHTEST = 16.0
SHAPE = (1, 8, 8)
CLASSES = 10
FLIPS_KEEP_LABELS = False  # a mirrored 2 is no 2


def read() -> Arrays:
    """All 1,797 images, pixel values divided by their largest possible value."""
    bunch = load_digits()
    images = (bunch.images / BRIGHTEST).astype(np.float32)[:, None]
    return Arrays(images, bunch.target.astype(np.int64), 10)
