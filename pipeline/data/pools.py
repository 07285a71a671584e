"""Choose classes of a dataset, and set examples apart for pretraining."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.config.streams import derive
from pipeline.config.validation import invalid, unknown_name
from pipeline.data.arrays import Arrays
from pipeline.data.splits import TEST_SEED
from pipeline.runtime.errors import Refusal

Classes = Sequence[int | str]


def class_numbers(classes: Classes, names: Sequence[str], count: int, where: str) -> list[int]:
    """Return the numbers of classes that are given by number or by name.

    Args:
        classes: The classes.
        names: The names of all classes of the dataset; empty where they have none.
        count: The number of classes of the dataset.
        where: The place of the classes, for errors.

    Raises:
        Refusal: A class does not exist, or is given twice.
    """
    numbers = []
    for item in classes:
        if isinstance(item, str):
            if not names:
                expected = f"an integer from 0 to {count - 1}: the classes have no names"
                raise Refusal(invalid(where, item, expected))
            if item not in names:
                raise Refusal(unknown_name(where, item, names))
            numbers.append(names.index(item))
        elif not 0 <= item < count:
            raise Refusal(invalid(where, item, f"an integer from 0 to {count - 1}"))
        else:
            numbers.append(item)
    if len(set(numbers)) < len(numbers):
        raise Refusal(invalid(where, list(classes), "each class once"))
    return numbers


def select_classes(pool: Arrays, classes: Sequence[int]) -> Arrays:
    """Return the examples of some classes, labelled by their place in `classes`."""
    if list(classes) == list(range(pool.classes)):
        return pool
    places = np.full(pool.classes, -1)
    places[list(classes)] = range(len(classes))
    labels = places[pool.labels]
    return _subset(pool, labels >= 0, labels, len(classes))


def drop_examples(pool: Arrays, left_out: NDArray[np.bool_]) -> Arrays:
    """Return the examples outside a mask (N,)."""
    if not left_out.any():
        return pool
    return _subset(pool, ~left_out, pool.labels, pool.classes)


def set_apart(pool: Arrays, classes: Collection[int], share: float) -> NDArray[np.bool_]:
    """Return a mask (N,) of the examples of some classes that are set apart for pretraining.

    A smaller share is a part of a larger one. Examples of the dataset's own validation set stay,
    and groups are not split.

    Args:
        pool: The development examples.
        classes: The numbers of the classes.
        share: The share of each class, in (0, 1); of grouped examples that of all, at most.
    """
    apart = np.zeros(len(pool.labels), bool)
    drawn = pool.labels[: len(pool.labels) - pool.validation]
    if pool.groups is not None:
        chosen_groups = _groups_apart(pool.groups[: len(drawn)], share)
        apart[: len(drawn)] = np.isin(pool.groups[: len(drawn)], chosen_groups)
        return apart & np.isin(pool.labels, sorted(classes))
    for label in sorted(classes):
        generator = np.random.default_rng(derive(TEST_SEED, "pretraining", label))
        members = generator.permutation(np.flatnonzero(drawn == label))
        apart[members[: round(share * len(members))]] = True
    return apart


def _groups_apart(groups: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Return groups in a random order that have at most a share of the examples together."""
    names, counts = np.unique(groups, return_counts=True)
    generator = np.random.default_rng(derive(TEST_SEED, "pretraining", "groups"))
    order = generator.permutation(len(names))
    within = np.cumsum(counts[order]) <= share * len(groups)
    selection: NDArray[np.int64] = names[order][within]
    return selection


def _subset(
    pool: Arrays, mask: NDArray[np.bool_], labels: NDArray[np.int64], classes: int
) -> Arrays:
    subset = pool.take(np.flatnonzero(mask))
    return replace(
        subset,
        labels=labels[mask].astype(np.int64),
        classes=classes,
        validation=int(mask[len(mask) - pool.validation :].sum()),
    )
