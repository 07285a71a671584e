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
def test_impossible_sizes_are_refused(pool, size):
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


def test_more_validation_than_is_left_is_refused(pool):
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
        found, taken = arrays.take_channels_last(chosen), arrays.take(chosen)
        assert (found.images == taken.images).all()
        assert (found.labels == taken.labels).all()
        assert np.shares_memory(as_images(found.images).numpy(), found.images)
        assert (given == images).all()


def test_a_source_that_lacks_a_function_is_named(monkeypatch):
    monkeypatch.delattr(digits, "read")
    with pytest.raises(
        Refusal, match=r"sources/digits.py: read: missing; expected Source, .*__init__.py"
    ):
        data.read("digits", {})
