"""Splits are stratified, seeded, disjoint, and the test set never moves."""

import hashlib

import numpy as np
import pytest

from pipeline.config.run import Data
from pipeline.data import sources as data
from pipeline.data.arrays import Arrays
from pipeline.data.sources import digits
from pipeline.data.splits import hold_out, redraw_labels, train_and_validation, train_validation
from pipeline.prediction.network import as_images
from pipeline.runtime.errors import Refusal


@pytest.fixture(scope="module")
def pool():
    """Return the whole development pool of the digits."""
    arrays = data.read("digits", {}).pool
    return arrays.take(hold_out(arrays.labels, 0.4)[0])


def test_the_digits_are_real_and_scaled():
    arrays = data.read("digits", {}).pool
    assert arrays.images.shape == (1797, 1, 8, 8)
    assert (arrays.images.min(), arrays.images.max(), arrays.classes) == (0, 1, 10)
    assert "digits" in data.settings()


def test_the_test_set_never_moves():
    """A change of this digest would open a new test set: every published number would change."""
    labels = data.read("digits", {}).pool.labels
    development, test = hold_out(labels, 0.4)
    assert hashlib.sha256(test.tobytes()).hexdigest()[:16] == "471bfab3f53ce2cc"
    assert sorted([*development, *test]) == list(range(1797))
    assert len(test) == 719


@pytest.mark.parametrize("seed", [0, 1, 1000])
def test_train_and_validation_partition_the_pool_by_class(pool, seed):
    train, validation = train_validation(pool.labels, 150, seed)
    assert sorted([*train, *validation]) == list(range(len(pool.labels)))
    assert len(train) == 150
    counts = np.bincount(pool.labels[train])
    assert np.abs(counts - 150 * np.bincount(pool.labels) / len(pool.labels)).max() <= 1


def test_a_seed_fixes_the_split_and_another_moves_it(pool):
    first, again, other = (train_validation(pool.labels, 150, seed)[0] for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("size", [9, 1077, 5000])
def test_impossible_sizes_raise(pool, size):
    with pytest.raises(Refusal, match=f"data.train_size: {size} of 1078 examples"):
        train_validation(pool.labels, size, 0)


def test_label_noise(pool):
    clean, validation = train_and_validation(
        pool, Data(dataset="digits", train_size=500, label_noise=0.0), 3
    )
    noisy, same = train_and_validation(
        pool, Data(dataset="digits", train_size=500, label_noise=0.4), 3
    )
    assert (noisy.images == clean.images).all()
    assert (same.labels == validation.labels).all()
    wrong = (noisy.labels != clean.labels).mean()
    assert 0.3 < wrong < 0.4  # a tenth of the redrawn labels fall on their old value
    assert (redraw_labels(clean.labels, 0.4, 10, 3) == noisy.labels).all()
    assert (redraw_labels(clean.labels, 0.4, 10, 4) != noisy.labels).any()
    assert (redraw_labels(clean.labels, 0.0, 10, 3) == clean.labels).all()


@pytest.mark.parametrize("given", [0, 50])
def test_validation_may_be_a_stratified_part_of_what_is_left(pool, given):
    """Trained on is who would be anyway; what a dataset sets apart is never cut."""
    train, validation = train_validation(pool.labels, 150, 1, given, 100)
    whole, rest = train_validation(pool.labels, 150, 1, given)
    assert (train == whole).all()
    assert set(validation) <= set(rest)
    assert len(validation) == (given or 100)
    if not given:
        shares = [
            np.bincount(pool.labels[part], minlength=10) / len(part) for part in (validation, rest)
        ]
        assert np.abs(shares[0] - shares[1]).max() < 0.02
        assert (train_validation(pool.labels, 150, 1, 0, len(rest))[1] == rest).all()


def test_more_validation_than_is_left_raises(pool):
    with pytest.raises(Refusal, match="data.validation_size: 1000 of 928 examples"):
        train_validation(pool.labels, 150, 1, 0, 1000)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_last_holds_the_same_examples(tmp_path, channels):
    """From memory and from a file; channels last in memory, so that a network copies nothing."""
    images = np.random.default_rng(0).integers(0, 256, (1200, channels, 4, 5), np.uint8)
    np.save(tmp_path / "images.npy", images)
    chosen = np.random.default_rng(1).permutation(1200)[:1100]
    for given in (images, np.load(tmp_path / "images.npy", mmap_mode="r")):
        arrays = Arrays(given, np.arange(1200), 2)
        last, taken = arrays.take_channels_last(chosen), arrays.take(chosen)
        assert (last.images == taken.images).all()
        assert (last.labels == taken.labels).all()
        assert np.shares_memory(as_images(last.images).numpy(), last.images)
        assert (given == images).all()


def test_a_source_that_lacks_a_function_is_named(monkeypatch):
    monkeypatch.delattr(digits, "read")
    with pytest.raises(
        Refusal, match=r"sources/digits.py: read: missing; expected Source, .*__init__.py"
    ):
        data.read("digits", {})


RARE = {
    "below one training example": ([300, 5], 20, None),
    "two rare classes": ([200, 40, 3, 2], 8, None),
    "frequent in training alone": ([50, 2, 2], 50, None),
    "a part of the validation": ([300, 4, 9], 20, 12),
    "one example left for validation": ([300, 2], 20, 30),
    "nearly all of the validation": ([30, 3, 4], 10, 26),
}


@pytest.mark.parametrize("case", RARE)
@pytest.mark.parametrize("seed", range(5))
def test_every_class_has_an_example_in_every_split(case, seed):
    counts, train_size, size = RARE[case]
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    train, validation = train_validation(labels, train_size, seed, size=size)
    assert len(train) == train_size
    assert len(validation) == (size or len(labels) - train_size)
    assert not set(train) & set(validation)
    assert len(set(validation)) == len(validation)
    for part in (train, validation):
        assert (np.diff(part) > 0).all()
        assert (np.bincount(labels[part], minlength=len(counts)) > 0).all()


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8])
def test_the_test_set_leaves_two_examples_of_each_class(fraction):
    labels = np.repeat([0, 1, 2], [60, 3, 4])
    development, test = hold_out(labels, fraction)
    assert len(development) == round(len(labels) * (1 - fraction))
    assert sorted([*development, *test]) == list(range(len(labels)))
    assert np.bincount(labels[development]).min() >= 2
    assert np.bincount(labels[test]).min() >= 1
    pair = np.repeat([0, 1], [60, 2])
    assert np.bincount(pair[hold_out(pair, fraction, 1)[0]])[1] == 1


def test_a_class_of_the_dataset_with_one_example_is_trained_on():
    """The validation set of the dataset has its own."""
    labels = np.array([0] * 40 + [1] + [0, 1] * 5)
    for seed in range(5):
        train, validation = train_validation(labels, 10, seed, given=10)
        assert 40 in train
        assert len(train) == 10
        assert validation.tolist() == list(range(41, 51))


def test_a_class_that_cannot_be_divided_is_named():
    with pytest.raises(Refusal, match=r"too few examples of class 1 \(1\); expected >= 2"):
        train_validation(np.array([0] * 40 + [1]), 20, 0)
