"""Draw stratified, seeded splits into train, validation and test: the same for every arm."""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from pipeline.config.run import Data
from pipeline.config.streams import derive
from pipeline.data.arrays import Arrays, Splits
from pipeline.runtime.errors import Refusal

TEST_SEED = 0  # fixed: the test set never moves
SEED_LIMIT = 2**32  # of scikit-learn

Indices = NDArray[np.int64]


def hold_out(labels: NDArray[np.int64], fraction: float) -> tuple[Indices, Indices]:
    """Return ascending indices (development, test): a fixed, stratified share for the test."""
    size = round(len(labels) * (1 - fraction))
    return _stratified(labels, size, derive(TEST_SEED, "test"), "data.test_fraction")


def development_and_test(splits: Splits, test_fraction: float) -> tuple[Arrays, Arrays]:
    """Return the development pool and the test set: the dataset's own, else a share of the pool."""
    pool, test = splits.pool, splits.test
    if test is None:
        development, held_out = hold_out(pool.labels, test_fraction)
        pool, test = pool.take(development), pool.take(held_out)
    return pool.with_validation(splits.validation) if splits.validation else pool, test


def train_validation(
    labels: NDArray[np.int64], train_size: int, seed: int, given: int = 0, size: int | None = None
) -> tuple[Indices, Indices]:
    """Return stratified indices (train, validation) into the development pool, each ascending.

    Validation is the remainder, or `size` examples of it. Where the dataset has its own validation
    set, its last `given` examples are the validation set of every seed. `seed` is that of the split
    stream.

    Raises:
        Refusal: The pool is too small for both.
    """
    key = "data.train_size"
    if given:
        first = len(labels) - given
        validation = np.arange(first, len(labels))
        if train_size == first:
            return np.arange(first), validation
        return _stratified(labels[:first], train_size, derive(seed, "split"), key)[0], validation
    train, rest = _stratified(labels, train_size, derive(seed, "split"), key)
    if size not in (None, len(rest)):
        stream = derive(seed, "split", "validation")
        rest = rest[_stratified(labels[rest], size, stream, "data.validation_size")[0]]
    return train, rest


def redraw_labels(
    labels: NDArray[np.int64], fraction: float, classes: int, seed: int
) -> NDArray[np.int64]:
    """Return labels with a fraction, rounded to whole examples, redrawn uniformly over all classes.

    A redrawn label may equal the old one, so the share of wrong labels is
    fraction * (1 - 1 / classes).
    """
    generator = np.random.default_rng(derive(seed, "split", "label_noise"))
    chosen = generator.permutation(len(labels))[: round(len(labels) * fraction)]
    noisy = labels.copy()
    noisy[chosen] = generator.integers(0, classes, len(chosen))
    return noisy


def train_and_validation(pool: Arrays, data: Data, seed: int) -> tuple[Arrays, Arrays]:
    """Return the training and validation examples of one seed; only training labels are noisy."""
    train, validation = train_validation(
        pool.labels, data.train_size, seed, pool.validation, data.validation_size
    )
    chosen = pool.take_channels_last(train)
    labels = redraw_labels(chosen.labels, data.label_noise, pool.classes, seed)
    return Arrays(chosen.images, labels, pool.classes), pool.take_channels_last(validation)


def _stratified(
    labels: NDArray[np.int64], first: int, seed: int, key: str
) -> tuple[Indices, Indices]:
    classes, counts = np.unique(labels, return_counts=True)
    most = len(labels) - len(classes)
    if not len(classes) <= first <= most or counts.min() < 2:
        raise Refusal(
            f"{key}: {first} of {len(labels)} examples in {len(classes)} classes; "
            f"expected {len(classes)} to {most}, and >= 2 of each class"
        )
    one, other = train_test_split(
        np.arange(len(labels)), train_size=first, stratify=labels, random_state=seed % SEED_LIMIT
    )
    return np.sort(one), np.sort(other)
