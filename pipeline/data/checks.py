"""Check the data before training: too few examples, duplicate images, splits that differ."""

import copy
import hashlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.config.run import Data
from pipeline.data.arrays import MAX_PIXEL, Arrays, Splits, is_row
from pipeline.data.paths import printable
from pipeline.data.splits import train_validation
from pipeline.data.stored import Images, pieces
from pipeline.runtime.errors import Refusal

LOGGER = "pipeline.data"  # parent of the logger of every source
LEVEL = 1e-4  # significance level of the comparisons of splits
CLASS_SHARE = 0.05  # smallest reported difference: share of the examples
SHIFT = 0.1  # smallest reported difference of means: standard deviations over examples
NAMED = 5  # classes named in one line

Digests = NDArray[np.uint64]  # (N,) one for each example


@contextmanager
def collect_notes() -> Iterator[list[str]]:
    """Print the warnings that data sources log on stderr, and collect them in the list.

    A collected warning holds only the name of a logged `Path`: its folder differs between machines.
    """
    handler = _Notes()
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    try:
        yield handler.notes
    finally:
        logger.removeHandler(handler)


@contextmanager
def ignore_notes() -> Iterator[None]:
    """Print nothing that data sources log, where the same data are read again later."""
    handler = logging.NullHandler()
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Notes(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.notes: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        print(printable(f"warning: {record.getMessage()}"), file=sys.stderr)
        noted = copy.copy(record)
        if isinstance(record.args, tuple):
            noted.args = tuple(
                arg.absolute().name if isinstance(arg, Path) else arg for arg in record.args
            )
        self.notes.append(printable(noted.getMessage()))


def require_examples(splits: Splits) -> None:
    """Check that each class of the pool has an example for every split drawn from it.

    Raises:
        Refusal: A class has too few examples.
    """
    held_out = {"validation": splits.validation, "test": splits.test}
    drawn = ["training", *(name for name, split in held_out.items() if split is None)]
    names = splits.class_names or tuple(map(str, range(splits.pool.classes)))
    _require_each_class("pool", splits.pool.labels, names, drawn)


def require_sizes(development: Arrays, data: Data) -> None:
    """Check that every seed can draw its stratified split from the development pool.

    Raises:
        Refusal: The pool is too small.
    """
    labels = development.labels
    pool = labels[: len(labels) - development.validation]
    drawn = ["training"] if development.validation else ["training", "validation"]
    names = tuple(map(str, range(development.classes)))
    _require_each_class("development pool", pool, names, drawn)
    validation, groups = development.validation, development.groups
    sizes = data.train_size, 0, validation, data.validation_size
    train_validation(labels, *sizes, groups, data.per_class)


def _require_each_class(
    name: str, labels: NDArray[np.int64], classes: Sequence[str], splits: Sequence[str]
) -> None:
    counts = np.bincount(labels, minlength=len(classes))
    few = [
        printable(f"class {label} ({count})")
        for label, count in zip(classes, counts, strict=True)
        if count < len(splits)
    ]
    if few:
        raise Refusal(
            f"data.dataset: too few examples of {_shortened(few)} in the {name}; "
            f"expected >= {len(splits)} of each class (one for {', '.join(splits)}), "
            "or the class left out"
        )


def _shortened(names: Sequence[str]) -> str:
    others = f" and {len(names) - NAMED} others" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + others


def compare_splits(
    development: Arrays, test: Arrays, feature_names: Sequence[str] = ()
) -> list[str]:
    """Return a line for each problem: duplicates, differing class shares, brightness or features.

    `feature_names` are the names of the columns of a table.
    """
    splits = {"test": test}
    train = development
    if development.validation:
        everything = np.arange(len(development.labels))
        train = development.take(everything[: -development.validation])
        splits["validation"] = development.take(everything[-development.validation :])
    digests = {name: _digests(split.images) for name, split in splits.items()}
    digests["training"] = _digests(train.images)
    notes = list(_duplicates(digests, train.noun))
    notes += _copies(train, digests["training"], is_drawn_from=not development.validation)
    for name, split in splits.items():
        notes += _differences(train, split, name, feature_names)
    return [printable(note) for note in notes]


def compare_pretraining(
    pools: Mapping[str, Arrays], development: Arrays, test: Arrays
) -> list[str]:
    """Return a line for each pretraining that uses examples of the protocol.

    It does so if its dataset has them too: another one, or the same one under another name.

    Args:
        pools: The examples of every pretraining, by its name.
        development: The development examples of the protocol.
        test: Its test examples.
    """
    parts = {"test": test, "development": development}
    digests = {name: _digests(part.images) for name, part in parts.items()} if pools else {}
    notes = []
    for name, pool in pools.items():
        pool_digests = _digests(pool.images)
        counts = {
            part: int(np.isin(of_part, pool_digests).sum()) for part, of_part in digests.items()
        }
        shared = [
            f"{count} of {len(digests[part])} {part} {test.noun}"
            for part, count in counts.items()
            if count
        ]
        if shared and pool.shape == test.shape:
            notes.append(
                f"pretraining {name}: {' and '.join(shared)} are also in its pool: "
                "scores of runs that start from it are too high"
            )
    return [printable(note) for note in notes]


def _duplicates(digests: Mapping[str, Digests], noun: str) -> Iterator[str]:
    """Yield a line for each pair of splits that share examples."""
    for name, reference in (
        ("test", "training"),
        ("validation", "training"),
        ("test", "validation"),
    ):
        if name not in digests or reference not in digests:
            continue
        if shared := int(np.isin(digests[name], digests[reference]).sum()):
            yield (
                f"{shared} of {len(digests[name])} {name} {noun} are also {reference} {noun}: "
                "scores on them are too high"
            )


def _copies(pool: Arrays, digests: Digests, is_drawn_from: bool) -> Iterator[str]:
    """Yield a line if images of the pool are equal, and one if equal images differ in class.

    Equal images lie in training and validation if every seed draws its validation set from the
    pool.
    """
    different, first, images = np.unique(digests, return_index=True, return_inverse=True)
    count = len(digests)
    if is_drawn_from and len(different) < count:
        yield (
            f"{count - len(different)} of {count} development {pool.noun} are copies of others: "
            "validation scores are too high"
        )
    lowest, highest = pool.labels[first], pool.labels[first]  # classes of equal images
    np.minimum.at(lowest, images, pool.labels)
    np.maximum.at(highest, images, pool.labels)
    if unclear := int((lowest < highest)[images].sum()):
        yield f"{unclear} of {count} development {pool.noun} are also {pool.noun} of another class"


def _differences(
    train: Arrays, other: Arrays, name: str, feature_names: Sequence[str]
) -> Iterator[str]:
    counts = np.array(
        [np.bincount(split.labels, minlength=train.classes) for split in (train, other)]
    )
    if absent := [f"class {label}" for label in np.flatnonzero(counts[1] == 0)]:
        yield (
            f"{name}: no example of {_shortened(absent)}; "
            "expected one of each class, or the class left out"
        )
    counts = counts[:, counts.any(axis=0)]
    shares = counts / counts.sum(axis=1, keepdims=True)
    moved = np.abs(shares[0] - shares[1]).sum() / 2
    if moved > CLASS_SHARE and stats.chi2_contingency(counts).pvalue < LEVEL:
        yield f"{name}: class shares differ from those in training by {100 * moved:.0f} %"
    shifted = []
    brightness = zip(_brightness(train.images), _brightness(other.images), strict=True)
    for channel, (trained, drawn) in enumerate(brightness):
        if min(len(trained), len(drawn)) < 2 or trained.std() == 0:
            continue
        if abs(drawn.mean() - trained.mean()) <= SHIFT * trained.std():
            continue
        if stats.ttest_ind(trained, drawn, equal_var=False).pvalue < LEVEL / train.shape[0]:
            what = f"brightness of channel {channel}"
            if is_row(train.shape):
                what = feature_names[channel] if feature_names else f"feature {channel}"
            shifted.append(f"mean {what} is {drawn.mean():.3g}, {trained.mean():.3g} in training")
    if shifted:
        more = f"; and {len(shifted) - NAMED} others" if len(shifted) > NAMED else ""
        yield f"{name}: {'; '.join(shifted[:NAMED])}{more}"


def _digests(images: Images) -> Digests:
    """Return a digest (N,) of each image; comparing the images themselves would copy them all.

    Of a million images, two different ones have equal digests once in 40 million data sets.
    """
    digests = np.empty(len(images), np.uint64)
    contents = (image.tobytes() for piece in pieces(images) for image in piece)
    for number, content in enumerate(contents):
        digest = hashlib.blake2b(content, digest_size=digests.itemsize).digest()
        digests[number] = int.from_bytes(digest)
    return digests


def _brightness(images: Images) -> list[NDArray[np.float64]]:
    """Return the mean of each image by channel, in [0, 1]; of rows the values of each feature.

    Missing values are left out.
    """
    scale = MAX_PIXEL if images.dtype == np.uint8 else 1
    means = [piece.mean(axis=(2, 3), dtype=np.float64) / scale for piece in pieces(images)]
    return [channel[~np.isnan(channel)] for channel in np.concatenate(means).T]
