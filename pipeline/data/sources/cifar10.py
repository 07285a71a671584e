"""CIFAR-10: 60,000 color 32x32 images in ten classes, 10,000 of them for the test.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from pipeline.data.arrays import DatasetInfo, Splits
from pipeline.data.sources import _cifar as cifar
from pipeline.data.sources._download import PublishedDataset, Source

VARIANT = cifar.CifarVariant(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    archive_md5="c58f30108f718f92721af3b95e74349a",
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    test="test_batch",
    labels=b"labels",
    classes=10,
)
PUBLISHED = PublishedDataset(
    "cifar10", "https://www.cs.toronto.edu/~kriz", (VARIANT.archive,), folder=VARIANT.folder
)


def describe(source: Source) -> DatasetInfo:
    """Return shape and classes; flipping preserves labels."""
    return DatasetInfo(cifar.SHAPE, VARIANT.classes, flips_keep_labels=True)


def read(source: Source) -> Splits:
    """Return all images found, with the official test set."""
    return PUBLISHED.load(source, lambda path: cifar.read(path, VARIANT))
