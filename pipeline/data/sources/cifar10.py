"""CIFAR-10: 60,000 colour 32x32 images of vehicles and animals in ten classes, 10,000 of them for the test.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from pipeline.data.arrays import Kind, Parts
from pipeline.data.sources import _cifar as cifar
from pipeline.data.sources._download import Published, Source

EDITION = cifar.Edition(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    packed="c58f30108f718f92721af3b95e74349a",
    sums={
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
PUBLISHED = Published(
    "cifar10", "https://www.cs.toronto.edu/~kriz", (EDITION.archive,), folder=EDITION.folder
)


def describe(source: Source) -> Kind:
    """32x32, colour; a mirrored horse is a horse."""
    return Kind(cifar.SHAPE, EDITION.classes, flips_keep_labels=True)


def read(source: Source) -> Parts:
    """All images that are there, with the test set that CIFAR-10 has. Raises Refusal."""
    return PUBLISHED.parts(source, lambda place: cifar.read(place, EDITION))
