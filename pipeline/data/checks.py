"""What is worth knowing of a split before anything is trained on it: too few examples, the same image in two parts, parts
that differ.

Separate from the splits, which follow a rule whatever the images are.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.config.run import Data
from pipeline.data.arrays import Arrays, Parts
from pipeline.data.splits import train_validation
from pipeline.runtime.errors import Refusal

LEVEL = 1e-4  # of a difference that chance would hardly make
SHARE, SHIFT = 0.05, 0.1  # and that matters: of the examples, and of the images' deviation
SHOWN = 5  # classes named in one line


def require_examples(parts: Parts) -> None:
    """Raises Refusal where a class of the pool has not one example for each part that is made of the pool."""
    made = 1 + sum(part is None for part in (parts.validation, parts.test))
    _require_of_each("the pool", parts.pool.labels, parts.pool.classes, made)


def require_sizes(development: Arrays, data: Data) -> None:
    """Raises Refusal where the development pool cannot give what every seed takes from it, some of each class."""
    drawn = development.labels[: len(development.labels) - development.validation]
    whole = development.validation and data.train_size == len(drawn)
    _require_of_each("the development pool", drawn, development.classes, 1 if whole else 2)
    train_validation(
        development.labels, data.train_size, 0, development.validation, data.validation_size
    )


def _require_of_each(where: str, labels: NDArray[np.int64], classes: int, fewest: int) -> None:
    counts = np.bincount(labels, minlength=classes)
    if few := [f"class {name} ({counts[name]})" for name in np.flatnonzero(counts < fewest)]:
        raise Refusal(
            f"{where}: too few examples of {_listed(few)}; allowed are {fewest} or more of each class"
        )


def _listed(names: Sequence[str]) -> str:
    others = f" and {len(names) - SHOWN} others" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + others


def notes(development: Arrays, test: Arrays) -> list[str]:
    """A line for each oddity: identical images, class balance, brightness per channel. No line where all is well."""
    first = len(development.labels) - development.validation
    train, held = (
        _between(development, 0, first),
        _between(development, first, len(development.labels)),
    )
    parts = {"test": test, **({"validation": held} if development.validation else {})}
    differing = (note for name, part in parts.items() for note in _compared(train, part, name))
    return [*_repeated(train, held, test), *differing]


def _repeated(train: Arrays, held: Arrays, test: Arrays) -> Iterator[str]:
    """Images of one part among those of another, which was to hold none of them."""
    known, validating, tested = (list(_digests(part.images)) for part in (train, held, test))
    for use, others, name, own in (
        ("train", known, "test", tested),
        ("train", known, "validation", validating),
        ("validate", validating, "test", tested),
    ):
        among = set(others)
        if shared := sum(digest in among for digest in own):
            yield f"{shared} of {len(own)} {name} images are also among those to {use} on: scores on them are too good"


def _compared(train: Arrays, other: Arrays, name: str) -> Iterator[str]:
    present = np.bincount(other.labels, minlength=other.classes)
    if absent := [f"class {label}" for label in np.flatnonzero(present == 0)]:
        yield f"{name}: no example of {_listed(absent)}"
    counts = np.array(
        [np.bincount(part.labels, minlength=train.classes) for part in (train, other)]
    )
    counts = counts[:, counts.any(axis=0)]
    shares = counts / counts.sum(axis=1, keepdims=True)
    moved = np.abs(shares[0] - shares[1]).sum() / 2
    if moved > SHARE and stats.chi2_contingency(counts).pvalue < LEVEL:
        yield f"{name}: classes are shared out differently than in training: {100 * moved:.0f} % of them would have to move"
    for channel, (one, two) in enumerate(
        zip(_brightness(train.images), _brightness(other.images), strict=True)
    ):
        if (
            abs(one.mean() - two.mean()) > SHIFT * one.std()
            and stats.ttest_ind(one, two, equal_var=False).pvalue < LEVEL
        ):
            yield f"{name}: channel {channel} is on average {two.mean():.3f} bright, {one.mean():.3f} in training"


def _between(arrays: Arrays, first: int, last: int) -> Arrays:
    """Examples that lie side by side, not copied."""
    return Arrays(arrays.images[first:last], arrays.labels[first:last], arrays.classes)


def _digests(images: NDArray[np.generic]) -> Iterator[bytes]:
    """What stands for the bytes of each image: to compare images themselves takes several copies of all of them."""
    return (
        hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()
        for image in images
    )


def _brightness(images: NDArray[np.generic]) -> NDArray[np.float64]:
    """The mean of each image (channels, N), in [0, 1]."""
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    means: NDArray[np.float64] = images.mean(axis=(2, 3), dtype=np.float64).T / scale
    return means
