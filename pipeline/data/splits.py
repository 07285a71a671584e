"""Draw stratified, seeded splits into train, validation and test: the same for every arm.

Every class has an example in every split. Where its share of a split is below one example,
scikit-learn may give it none; one is then exchanged for an example of the most frequent class.
Examples of one group are never in two splits: whole groups are drawn (`groups.py`).
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from pipeline.config.run import Data
from pipeline.config.streams import derive
from pipeline.config.validation import invalid
from pipeline.data.arrays import Arrays, Splits
from pipeline.data.groups import group_parts
from pipeline.data.missing import Filling
from pipeline.runtime.errors import Refusal

TEST_SEED = 0  # fixed: the test set never moves
SEED_LIMIT = 2**32  # limit of seeds in scikit-learn

Indices = NDArray[np.int64]


def hold_out(
    labels: NDArray[np.int64], fraction: float, kept: int = 2, groups: Indices | None = None
) -> tuple[Indices, Indices]:
    """Return ascending indices (development, test): a fixed, stratified share for the test.

    Of each class, `kept` examples or more are in development, and one or more in the test; with
    `groups` of `kept` groups or more.
    """
    size = round(len(labels) * (1 - fraction))
    seed, key, least = derive(TEST_SEED, "test"), "data.test_fraction", (kept, 1)
    if groups is not None:
        return group_parts(labels, groups, size, seed, key, least)
    return _stratified(labels, size, seed, key, least)


def development_and_test(splits: Splits, test_fraction: float) -> tuple[Arrays, Arrays]:
    """Return the development pool and the test set: the dataset's own, or a share of the pool."""
    pool, test = splits.pool, splits.test
    if test is None:
        kept = 1 if splits.validation else 2  # training, and validation unless it is given
        development, held_out = hold_out(pool.labels, test_fraction, kept, pool.groups)
        pool, test = pool.take(development), pool.take(held_out)
    return pool.with_validation(splits.validation) if splits.validation else pool, test


def train_validation(
    labels: NDArray[np.int64],
    train_size: int,
    seed: int,
    given: int = 0,
    size: int | None = None,
    groups: Indices | None = None,
    per_class: int | None = None,
) -> tuple[Indices, Indices]:
    """Return stratified indices (train, validation) into the development pool, each ascending.

    Validation is the remainder, or `size` examples of it. Where the dataset has its own validation
    set, its last `given` examples are the validation set of every seed. With `groups`, training has
    `train_size` examples of as many groups as have these, and validation examples of others. With
    `per_class`, training has this number of each class, the first ones of a larger number. `seed`
    is the seed of the split stream.

    Raises:
        Refusal: The pool is too small for both.
    """
    key = "data.train_size"
    stream = derive(seed, "split")
    if given:
        first = len(labels) - given
        validation = np.arange(first, len(labels))
        if per_class is not None:
            return balanced(labels[:first], per_class, stream, 0)[0], validation
        return _part(labels[:first], train_size, stream, key), validation
    if per_class is not None and groups is None:
        train, rest = balanced(labels, per_class, stream, 1)
    elif groups is None:
        train, rest = _stratified(labels, train_size, stream, key, (1, 1))
    else:
        if per_class is not None:
            expected = "null with groups, which are drawn whole; give data.train_size"
            raise Refusal(invalid("data.per_class", per_class, expected))
        train, rest = group_parts(labels, groups, train_size, stream, key, (1, 1), fills=True)
        train = train[_part(labels[train], train_size, stream, key)]
    if size is not None:
        stream = derive(seed, "split", "validation")
        rest = rest[_part(labels[rest], size, stream, "data.validation_size")]
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


def draw(pool: Arrays, data: Data, seed: int) -> tuple[Arrays, Arrays]:
    """Return the training and validation examples of one seed; only training labels are noisy.

    Missing values are not yet filled in.
    """
    train, validation = train_validation(
        pool.labels,
        data.train_size,
        seed,
        pool.validation,
        data.validation_size,
        pool.groups,
        data.per_class,
    )
    chosen = pool.take_channels_last(train)
    labels = redraw_labels(chosen.labels, data.label_noise, pool.classes, seed)
    return Arrays(chosen.images, labels, pool.classes), pool.take_channels_last(validation)


def train_and_validation(pool: Arrays, data: Data, seed: int) -> tuple[Arrays, Arrays]:
    """Return the parts from `draw`, with missing values filled in by the training examples."""
    train, validation = draw(pool, data, seed)
    filling = Filling.of(train.images)
    return filling.apply(train), filling.apply(validation)


def balanced(
    labels: NDArray[np.int64], per_class: int, seed: int, left: int
) -> tuple[Indices, Indices]:
    """Return ascending indices of `per_class` examples of each class, and of all others.

    A smaller number gives a part of the result of a larger one.

    Args:
        labels: (N,), of every class at least `per_class` + `left`.
        per_class: The number of examples of each class.
        seed: The seed of the draw.
        left: The least number of others of each class.

    Raises:
        Refusal: A class has too few examples.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < per_class + left:
        expected = f"an integer <= {counts.min() - left} (class {classes[counts.argmin()]})"
        raise Refusal(invalid("data.per_class", per_class, expected))
    chosen = np.zeros(len(labels), bool)
    for label in classes:
        generator = np.random.default_rng(derive(seed, "class", int(label)))
        chosen[generator.permutation(np.flatnonzero(labels == label))[:per_class]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def _part(labels: NDArray[np.int64], size: int, seed: int, key: str) -> Indices:
    """Return the ascending indices of a stratified part, whose remainder may lack classes."""
    if size == len(labels):
        return np.arange(size)
    return _stratified(labels, size, seed, key, (1, 0))[0]


def _stratified(
    labels: NDArray[np.int64], first: int, seed: int, key: str, least: tuple[int, int]
) -> tuple[Indices, Indices]:
    """Return two parts, ascending, with `least` examples or more of each class in each."""
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    lowest, highest = len(classes) * least[0], len(labels) - len(classes) * least[1]
    if not lowest <= first <= min(highest, len(labels) - 1):
        raise Refusal(
            f"{key}: {first} of {len(labels)} examples in {len(classes)} classes; "
            f"expected {lowest} to {highest}"
        )
    if counts.min() < sum(least):
        raise Refusal(
            f"{key}: too few examples of class {classes[counts.argmin()]} ({counts.min()}); "
            f"expected >= {sum(least)}, or the class left out"
        )
    one, other = train_test_split(
        np.arange(len(labels)),
        train_size=first,
        stratify=_strata(codes, counts, min(first, len(labels) - first)),
        random_state=seed % SEED_LIMIT,
    )
    _exchange(one, other, codes, least)
    _exchange(other, one, codes, least[::-1])
    return np.sort(one), np.sort(other)


def _strata(codes: Indices, counts: Indices, smaller: int) -> Indices | None:
    """Return the strata that scikit-learn can divide into parts, the smaller of a given size.

    A class with one example joins the most frequent one. None: there are too many strata.
    """
    joined = np.where(counts < 2, counts.argmax(), np.arange(len(counts)))
    strata: Indices = joined[codes]
    return strata if len(np.unique(strata)) <= smaller else None


def _exchange(part: Indices, other: Indices, codes: Indices, least: tuple[int, int]) -> None:
    """Exchange examples until the part has `least[0]` of each class, and the other `least[1]`.

    Both are in random order and changed in place.
    """
    counts = np.bincount(codes[part], minlength=codes.max() + 1)
    for missing in np.flatnonzero(counts < least[0]):
        while counts[missing] < least[0]:
            frequent = counts.argmax()
            taken = np.flatnonzero(codes[other] == missing)[0]
            given = np.flatnonzero(codes[part] == frequent)[0]
            part[given], other[taken] = other[taken], part[given]
            counts[missing] += 1
            counts[frequent] -= 1
