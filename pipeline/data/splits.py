"""Who is trained on, who validates, who is kept for the test: every split is stratified and seeded.

Separate because pairing and the closed test set rest on it: same seed, same split, for every arm.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from pipeline.config.run import Data
from pipeline.config.streams import derive
from pipeline.data.arrays import Arrays, Parts
from pipeline.runtime.errors import Refusal

TEST_SEED = 0  # one test set for everybody, for ever
LIMIT = 2**32  # of scikit-learn's seeds

Indices = NDArray[np.int64]


def hold_out(labels: NDArray[np.int64], fraction: float) -> tuple[Indices, Indices]:
    """Indices (development, test), each ascending: a fixed, stratified share of the examples for the test."""
    return _stratified(
        labels, round(len(labels) * (1 - fraction)), derive(TEST_SEED, "test"), "data.test_fraction"
    )


def divided(parts: Parts, test_fraction: float) -> tuple[Arrays, Arrays]:
    """What is developed on, and the closed test set: the dataset's own, else a fixed share of the pool."""
    pool, test = parts.pool, parts.test
    if test is None:
        development, held = hold_out(pool.labels, test_fraction)
        pool, test = pool.take(development), pool.take(held)
    return pool.with_validation(parts.validation) if parts.validation else pool, test


def train_validation(
    labels: NDArray[np.int64], train_size: int, seed: int, given: int = 0, size: int | None = None
) -> tuple[Indices, Indices]:
    """Indices (train, validation) into the development pool, each ascending; the remainder validates, or `size` of it.

    The last `given` examples validate alone, for every seed, where the dataset sets them apart. `seed` is that of the split
    stream. Raises Refusal where the pool cannot give both, stratified.
    """
    if not given:
        train, rest = _stratified(labels, train_size, derive(seed, "split"), "data.train_size")
        if size is None or size == len(rest):
            return train, rest
        return train, rest[
            _stratified(
                labels[rest], size, derive(seed, "split", "validation"), "data.validation_size"
            )[0]
        ]
    first = len(labels) - given
    whole = train_size == first
    train = (
        np.arange(first)
        if whole
        else _stratified(labels[:first], train_size, derive(seed, "split"), "data.train_size")[0]
    )
    return train, np.arange(first, len(labels))


def redraw_labels(
    labels: NDArray[np.int64], fraction: float, classes: int, seed: int
) -> NDArray[np.int64]:
    """Labels of which a fraction, rounded to whole examples, is redrawn uniformly over all classes.

    A redrawn label may fall on its old value, so the share of wrong labels is fraction * (1 - 1 / classes).
    """
    generator = np.random.default_rng(derive(seed, "split", "label_noise"))
    chosen = generator.permutation(len(labels))[: round(len(labels) * fraction)]
    noisy = labels.copy()
    noisy[chosen] = generator.integers(0, classes, len(chosen))
    return noisy


def train_and_validation(pool: Arrays, data: Data, seed: int) -> tuple[Arrays, Arrays]:
    """The training and validation examples of one seed, laid out for networks; only training labels are noisy."""
    train, validation = train_validation(
        pool.labels, data.train_size, seed, pool.validation, data.validation_size
    )
    chosen = pool.laid_out(train)
    labels = redraw_labels(chosen.labels, data.label_noise, pool.classes, seed)
    return Arrays(chosen.images, labels, pool.classes), pool.laid_out(validation)


def _stratified(
    labels: NDArray[np.int64], first: int, seed: int, key: str
) -> tuple[Indices, Indices]:
    classes, counts = np.unique(labels, return_counts=True)
    if not len(classes) <= first <= len(labels) - len(classes) or counts.min() < 2:
        allowed = f"{len(classes)} to {len(labels) - len(classes)}, two or more of each class"
        raise Refusal(
            f"{key}: {first} of {len(labels)} examples in {len(classes)} classes; allowed is {allowed}"
        )
    one, other = train_test_split(
        np.arange(len(labels)), train_size=first, stratify=labels, random_state=seed % LIMIT
    )
    return np.sort(one), np.sort(other)
