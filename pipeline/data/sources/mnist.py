"""MNIST: 70,000 grayscale 28x28 images of handwritten digits, 10,000 of them for the test.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998.
"""

from pipeline.data.arrays import DatasetInfo, Splits
from pipeline.data.sources import _idx as idx
from pipeline.data.sources._download import PublishedDataset, Source

MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
PUBLISHED = PublishedDataset("mnist", "https://ossci-datasets.s3.amazonaws.com/mnist", idx.PACKED)


def describe(source: Source) -> DatasetInfo:
    """Return shape and classes; flipping does not preserve labels."""
    return DatasetInfo((1, *idx.SHAPE), idx.CLASSES, flips_keep_labels=False)


def read(source: Source) -> Splits:
    """Return all images, with the official test set."""
    return PUBLISHED.load(source, lambda folder: idx.read(folder, MD5))
