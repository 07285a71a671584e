"""CIFAR-100: 60,000 colour 32x32 images in a hundred classes (its fine labels), 10,000 of them for the test.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from pipeline.data.arrays import Kind, Parts
from pipeline.data.sources import _cifar as cifar
from pipeline.data.sources._download import Published, Source

EDITION = cifar.Edition(
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    packed="eb9058c3a382ffc7106e4002c42a8d85",
    sums={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    test="test",
    labels=b"fine_labels",
    classes=100,
)
PUBLISHED = Published(
    "cifar100", "https://www.cs.toronto.edu/~kriz", (EDITION.archive,), folder=EDITION.folder
)


def describe(source: Source) -> Kind:
    """32x32, colour; a mirrored horse is a horse."""
    return Kind(cifar.SHAPE, EDITION.classes, flips_keep_labels=True)


def read(source: Source) -> Parts:
    """All images, with the test set that CIFAR-100 has. Raises Refusal."""
    return PUBLISHED.parts(source, lambda place: cifar.read(place, EDITION))
