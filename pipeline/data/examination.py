"""What is worth knowing of a split before anything is trained on it: the same image in two parts, parts that differ.

Separate from the splits, which follow a rule whatever the images are.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.data.arrays import Arrays

LEVEL = 1e-4  # of a difference that chance would hardly make
SHARE, SHIFT = 0.05, 0.1  # and that matters: of the examples, and of the images' deviation


def notes(development: Arrays, test: Arrays) -> list[str]:
    """A line for each oddity: identical images, class balance, brightness per channel. No line where all is well."""
    first = len(development.labels) - development.validation
    train = _between(development, 0, first)
    parts = {"test": test}
    if development.validation:
        parts["validation"] = _between(development, first, len(development.labels))
    return [note for name, part in parts.items() for note in _compared(train, part, name)]


def _compared(train: Arrays, other: Arrays, name: str) -> Iterator[str]:
    known = set(_digests(train.images))
    shared = sum(digest in known for digest in _digests(other.images))
    if shared:
        yield f"{shared} of {len(other.labels)} {name} images are also among those to train on: scores on them are too good"
    counts = np.array([np.bincount(part.labels, minlength=train.classes) for part in (train, other)])
    counts = counts[:, counts.any(axis=0)]
    shares = counts / counts.sum(axis=1, keepdims=True)
    moved = np.abs(shares[0] - shares[1]).sum() / 2
    if moved > SHARE and stats.chi2_contingency(counts).pvalue < LEVEL:
        yield f"{name}: classes are shared out differently than in training: {100 * moved:.0f} % of them would have to move"
    for channel, (one, two) in enumerate(zip(_brightness(train.images), _brightness(other.images), strict=True)):
        if abs(one.mean() - two.mean()) > SHIFT * one.std() and stats.ttest_ind(one, two, equal_var=False).pvalue < LEVEL:
            yield f"{name}: channel {channel} is on average {two.mean():.3f} bright, {one.mean():.3f} in training"


def _between(arrays: Arrays, first: int, last: int) -> Arrays:
    """Examples that lie side by side, not copied."""
    return Arrays(arrays.images[first:last], arrays.labels[first:last], arrays.classes)


def _digests(images: NDArray[np.generic]) -> Iterator[bytes]:
    """What stands for the bytes of each image: to compare images themselves takes several copies of all of them."""
    return (hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest() for image in images)


def _brightness(images: NDArray[np.generic]) -> NDArray[np.float64]:
    """The mean of each image (channels, N), in [0, 1]."""
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    means: NDArray[np.float64] = images.mean(axis=(2, 3), dtype=np.float64).T / scale
    return means
