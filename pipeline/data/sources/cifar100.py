"""CIFAR-100: 60,000 color 32x32 images in 100 classes (fine labels), 10,000 for the test.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from pipeline.data.arrays import DatasetInfo, Splits
from pipeline.data.sources import _cifar as cifar
from pipeline.data.sources._download import PublishedDataset, Source

VARIANT = cifar.CifarVariant(
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
    md5={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    test="test",
    labels=b"fine_labels",
    classes=100,
)
PUBLISHED = PublishedDataset(
    "cifar100", "https://www.cs.toronto.edu/~kriz", (VARIANT.archive,), folder=VARIANT.folder
)


def describe(source: Source) -> DatasetInfo:
    """Return shape and classes; flipping preserves labels."""
    return DatasetInfo(cifar.SHAPE, VARIANT.classes, flips_keep_labels=True)


def read(source: Source) -> Splits:
    """Return all images, with the official test set."""
    return PUBLISHED.load(source, lambda path: cifar.read(path, VARIANT))
