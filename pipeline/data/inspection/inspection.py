"""Define the result of an inspection of data: the same for images, arrays and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.arrays import Arrays, Splits

FEW = 20  # examples of a class, below which its score is coarse
UNBALANCED = 0.9  # share of the most frequent class
SAMPLE = 900  # examples, also of large data


@dataclass(frozen=True)
class DataOptions:
    """The user's options for the data; None leaves a value to the inspection.

    Attributes:
        labels: The file of the labels of an array.
        size: Pixels of each side, to which images are resized.
        color: rgb or grayscale.
        white: The level that becomes 1.
        layout: The axes of an array of images.
        unreadable: refuse or skip.
        flips_keep_labels: Whether a mirrored image keeps its label.
        label: The column of the classes of a table.
        split: The column that names the split of a row.
        group: The column whose values are never split apart.
        ignore: Columns that are left out.
        categories: Columns of numbers that stand for categories.
        separator: What stands between two values of a row.
    """

    labels: str | None = None
    size: int | None = None
    color: str | None = None
    white: float | None = None
    layout: str | None = None
    unreadable: str | None = None
    flips_keep_labels: bool = False
    label: str | None = None
    split: str | None = None
    group: str | None = None
    ignore: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    separator: str | None = None


@dataclass(frozen=True)
class Inspection:
    """The properties of the data that are known before a protocol for them is written.

    Attributes:
        dataset: The name of the source that reads them.
        source: The settings of the source that differ from its defaults, without `size`; paths
            are relative to the project.
        reasons: Why a setting has its value, by key.
        is_image: Whether examples are images, which may be moved and mirrored.
        counts: The examples of each class, by its name, those of own splits left out.
        validation: The size of a validation set of their own; 0 without.
        test: The same of a test set.
        shape: (channels, height, width) of an image, at the first of `sizes` if there are any;
            (features, 1, 1) of a row.
        sizes: Sides in pixels to which the source may resize images, best first; empty if it
            cannot.
        facts: What a user may want to compare with what they know, a line each.
        warnings: What may spoil results, a line each.
        sample: Some examples of every class.
        groups: The number of groups that are never split apart; None without.
        largest_group: The examples of the largest; 0 without.
    """

    dataset: str
    source: Mapping[str, Any]
    reasons: Mapping[str, str]
    is_image: bool
    counts: Mapping[str, int]
    validation: int
    test: int
    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    facts: tuple[str, ...]
    sample: Arrays
    warnings: tuple[str, ...] = ()
    groups: int | None = None
    largest_group: int = 0
    flips_keep_labels: bool = field(default=False)

    @property
    def examples(self) -> int:
        """Return the number of examples from which splits are drawn."""
        return sum(self.counts.values())

    @property
    def noun(self) -> str:
        """Return the noun for the examples."""
        return "images" if self.is_image else "rows"


def inspection_of(
    splits: Splits, names: Sequence[str], warnings: Sequence[str] = (), **attributes: Any
) -> Inspection:
    """Return an inspection of data that were read at once.

    Args:
        splits: The data.
        names: Those of the classes.
        warnings: Those that are not of the classes.
        attributes: What else is known of them: the attributes that do not follow from the splits.
    """
    pool = splits.pool
    occurring = np.bincount(pool.labels, minlength=pool.classes).tolist()
    counts = dict(zip(names, occurring, strict=True))
    chosen = pool.take(sample_of(pool.labels))
    return Inspection(
        counts=counts,
        validation=len(splits.validation.labels) if splits.validation else 0,
        test=len(splits.test.labels) if splits.test else 0,
        shape=pool.shape,
        sizes=(),
        warnings=(*class_warnings(counts), *warnings),
        sample=Arrays(chosen.images, chosen.labels, chosen.classes),
        **attributes,
    )


def sample_of(labels: NDArray[np.int64], size: int = SAMPLE) -> NDArray[np.int64]:
    """Return ascending indices of some examples: all if they are few, otherwise about `size`.

    Every class has two of them, or one if it has only one; many classes may exceed `size`.
    """
    generator = np.random.default_rng(0)
    if len(labels) <= size:
        return np.arange(len(labels))
    shuffled = generator.permutation(len(labels))
    order = np.argsort(labels[shuffled], kind="stable")
    _, first = np.unique(labels[shuffled][order], return_index=True)
    places = np.unique(np.concatenate([first, np.minimum(first + 1, len(labels) - 1)]))
    sure = shuffled[order[places]]
    rest = np.setdiff1d(shuffled, sure, assume_unique=True)
    chosen = generator.permutation(rest)[: max(0, size - len(sure))]
    return np.sort(np.concatenate([sure, chosen]))


def class_warnings(counts: Mapping[str, int]) -> list[str]:
    """Return a line for thin classes, and one if a class is nearly all of the data."""
    warnings = []
    total = sum(counts.values())
    thin = [f"{name} ({count})" for name, count in counts.items() if count < FEW]
    if thin:
        others = f" and {len(thin) - 5} others" if len(thin) > 5 else ""
        warnings.append(
            f"fewer than {FEW} examples of {', '.join(thin[:5])}{others}: "
            "splits have very few of them"
        )
    name, most = max(counts.items(), key=lambda item: item[1])
    if most > UNBALANCED * total:
        warnings.append(
            f"{100 * most / total:.0f} % of the examples are of class {name}: accuracy hardly "
            "depends on the others"
        )
    return warnings
