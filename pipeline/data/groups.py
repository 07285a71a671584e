"""Divide examples into two parts by whole groups, with class shares as equal as possible.

Many random orders of the groups are compared. The first part consists of the first groups of the
order in which their class shares are nearest to the shares of all examples, and their size to the
size wanted. scikit-learn's `GroupShuffleSplit` ignores classes, and its `StratifiedGroupKFold` has
no sizes.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.errors import Refusal

ORDERS = 200  # random orders that are compared
NEAR = 0.02  # difference in class shares or in size that is small enough to look no further

Indices = NDArray[np.int64]


def group_parts(
    labels: Indices,
    groups: Indices,
    first: int,
    seed: int,
    key: str,
    least: tuple[int, int],
    fills: bool = False,
) -> tuple[Indices, Indices]:
    """Return ascending indices of two parts that share no group.

    Args:
        labels: The class of each example.
        groups: The group of each example.
        first: The size of the first part; its groups have about as many examples.
        seed: That of the random orders.
        key: The setting that asks for the size, for the error message.
        least: In how many groups of either part each class occurs, or more.
        fills: Whether the groups of the first part must have `first` examples or more.

    Raises:
        Refusal: No order of the groups gives such parts.
    """
    names, codes = np.unique(groups, return_inverse=True)
    classes, of_class = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(counts, (codes, of_class), 1)
    generator = np.random.default_rng(seed)
    best, chosen = np.inf, None
    for _ in range(ORDERS):
        order = generator.permutation(len(names))
        number = _number(counts[order].sum(axis=1).cumsum(), first, fills)
        one, other = order[:number], order[number:]
        occurring = [(counts[part] > 0).sum(axis=0) for part in (one, other)]
        if (occurring[0] < least[0]).any() or (occurring[1] < least[1]).any():
            continue
        distance = _distance(counts, one, first)
        if distance < best:
            best, chosen = distance, one
        if best <= NEAR:
            break
    if chosen is None:
        raise Refusal(
            f"{key}: {first} of {len(labels)} examples in {len(names)} groups: no whole groups "
            f"were found that have so many and leave every class in both parts; expected "
            f"{'fewer' if fills else 'another share'}, more groups, or source.group left out"
        )
    inside = np.isin(codes, chosen)
    return np.flatnonzero(inside), np.flatnonzero(~inside)


def _number(ends: Indices, first: int, fills: bool) -> int:
    """Return the number of groups in the first part; `ends` are the cumulative sizes of groups."""
    enough = int(np.searchsorted(ends, first)) + 1  # groups that have `first` examples
    if fills or enough == 1:
        return enough
    below = first - ends[enough - 2]
    return enough - 1 if enough > len(ends) or below < ends[enough - 1] - first else enough


def _distance(counts: Indices, one: Indices, first: int) -> float:
    """Return the distance of a part from the wanted class shares and size, the larger of both."""
    part = counts[one].sum(axis=0)
    shares = np.abs(part / part.sum() - counts.sum(axis=0) / counts.sum()).max()
    return float(max(shares, abs(part.sum() - first) / first))
