"""Groups are never in two splits, whatever their sizes and classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.groups import group_parts
from pipeline.data.splits import hold_out, train_validation
from pipeline.runtime.errors import Refusal


def examples(sizes, mixed=True, seed=0):
    """Return labels and groups of these sizes; groups of one class each unless `mixed`."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)) * 7, sizes)
    labels = random.integers(0, 2, len(groups)) if mixed else groups // 7 % 2
    order = random.permutation(len(groups))
    return labels[order].astype(np.int64), groups[order].astype(np.int64)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=12, max_size=30), st.booleans(), st.integers(0, 99))
def test_no_group_is_in_two_splits(sizes, mixed, seed):
    labels, groups = examples(sizes, mixed, seed)
    try:
        development, test = hold_out(labels, 0.3, groups=groups)
    except Refusal:
        return
    assert sorted([*development, *test]) == list(range(len(labels)))
    assert not set(groups[development]) & set(groups[test])
    assert abs(len(test) - 0.3 * len(labels)) <= max(sizes) + 0.1 * len(labels)
    labels, groups = labels[development], groups[development]
    size = len(labels) // 2
    try:
        train, validation = train_validation(labels, size, seed, groups=groups)
    except Refusal:
        return
    assert len(train) == size
    assert not set(groups[train]) & set(groups[validation])
    assert set(labels[train]) == set(labels[validation]) == set(labels)


def test_class_shares_are_near_those_of_all():
    labels, groups = examples([5] * 60, mixed=False)
    for seed in range(5):
        one, other = group_parts(labels, groups, 150, seed, "key", (1, 1))
        assert abs(labels[one].mean() - labels[other].mean()) <= 0.05
        assert len(one) == pytest.approx(150, abs=5)


def test_seeds_draw_other_groups_and_the_same_again():
    labels, groups = examples([5] * 30)
    first, again, other = (train_validation(labels, 60, seed, groups=groups) for seed in (1, 1, 2))
    assert (first[0] == again[0]).all()
    assert set(groups[first[0]]) != set(groups[other[0]])


def test_a_given_validation_set_leaves_the_pool_whole():
    labels, groups = examples([5] * 12)
    train, validation = train_validation(labels, 50, 0, given=10, groups=groups)
    assert (train == np.arange(50)).all()
    assert (validation == np.arange(50, 60)).all()


@pytest.mark.parametrize(
    ("sizes", "first"), [([30, 30], 50), ([50, 5, 5], 58), ([1] * 3, 3), ([60], 10)]
)
def test_groups_that_cannot_be_divided_raise(sizes, first):
    labels, groups = examples(sizes)
    with pytest.raises(Refusal, match="data.train_size"):
        train_validation(labels, first, 0, groups=groups)
