"""Fashion-MNIST: 70,000 grayscale 28x28 images of clothes, shoes and bags, 10,000 for the test.

Source: Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv 1708.07747, 2017 (MIT licence).
"""

from pathlib import Path

from pipeline.data.arrays import DatasetInfo, Splits
from pipeline.data.sources import _idx as idx
from pipeline.data.sources._download import PublishedDataset, Source

MD5 = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
PUBLISHED = PublishedDataset(
    "fashion_mnist",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    idx.PACKED,
    package="dataset-fashion-mnist",
    installed=Path("/usr/share/datasets/fashion-mnist"),
)


def describe(source: Source) -> DatasetInfo:
    """Return shape and classes; flipping preserves labels."""
    return DatasetInfo((1, *idx.SHAPE), idx.CLASSES, flips_keep_labels=True)


def read(source: Source) -> Splits:
    """Return all images, with the official test set."""
    return PUBLISHED.load(source, lambda folder: idx.read(folder, MD5))
