"""Checks of splits: planted problems are found, a sound split has none; warnings are kept."""

import dataclasses
import logging
import tracemalloc

import numpy as np
import pytest

from pipeline.data import sources
from pipeline.data.arrays import Arrays
from pipeline.data.checks import collect_notes, compare_pretraining, compare_splits
from pipeline.data.splits import hold_out

CLASSES = 4


def drawn(seed, count=2000, shares=None, brighter=0):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 200, (count, 3, 4, 4)).astype(np.uint8)
    images[:, 1] += np.uint8(brighter)
    return Arrays(images, generator.choice(CLASSES, count, p=shares), CLASSES)


@pytest.mark.parametrize("seed", range(20))
def test_a_sound_split_has_no_notes(seed):
    assert compare_splits(drawn(seed), drawn(seed + 100, 500)) == []


def test_digits_are_sound():
    digits = sources.read("digits", {}).pool
    pool = digits.take(hold_out(digits.labels, 0.4)[0])
    assert compare_splits(pool.take(np.arange(500)), pool.take(np.arange(500, 1000))) == []


def test_identical_images_are_counted():
    train, test = drawn(1), drawn(2, 500)
    test.images[:7] = train.images[100:107]
    (note,) = compare_splits(train, test)
    assert note.startswith("7 of 500 test images are also training images")


def test_examples_of_the_protocol_in_a_pretraining_are_counted():
    """As where a pretraining has the images of the protocol under the name of another dataset."""
    development, test, other, sound = drawn(1), drawn(2, 500), drawn(3), drawn(4)
    other.images[:7] = test.images[100:107]
    other.images[7:10] = development.images[5]  # one image, three times
    as_rows = dataclasses.replace(test, images=test.images.reshape(500, -1, 1, 1))
    pools = {"other": other, "sound": sound, "rows": as_rows}
    assert compare_pretraining(pools, development, test) == [
        "pretraining other: 7 of 500 test images and 1 of 2000 development images are also in its "
        "pool: scores of runs that start from it are too high"
    ]
    assert compare_pretraining({}, development, test) == []


def test_copies_in_the_pool_are_counted():
    """Every seed draws training and validation images from it."""
    pool = drawn(1)
    pool.images[:7], pool.labels[:7] = pool.images[100], pool.labels[100]
    (note,) = compare_splits(pool, drawn(2, 500))
    assert note == (
        "7 of 2000 development images are copies of others: validation scores are too high"
    )
    assert compare_splits(pool.with_validation(drawn(3, 300)), drawn(2, 500)) == []


def test_equal_images_of_two_classes_are_counted():
    pool = drawn(1)
    pool.images[:2] = pool.images[100]
    pool.labels[[0, 1, 100]] = 1, 2, 1
    notes = compare_splits(pool.with_validation(drawn(3, 300)), drawn(2, 500))
    assert notes == ["3 of 2000 development images are also images of another class"]


def test_other_class_shares_and_brightness_are_noted():
    (note,) = compare_splits(drawn(1), drawn(2, 500, shares=[0.4, 0.2, 0.2, 0.2]))
    assert note.startswith("test: class shares differ from those in training by 1")
    (note,) = compare_splits(drawn(1), drawn(2, 500, brighter=20))
    assert note.startswith("test: mean brightness of channel 1 is 0.4")


def test_the_validation_set_of_a_dataset_is_compared_too():
    train, held = drawn(1), drawn(3, 300)
    held.images[:2] = train.images[:2]
    development = train.with_validation(held)
    (note,) = compare_splits(development, drawn(2, 500))
    assert note.startswith("2 of 300 validation images are also training images")
    drawn_anew = dataclasses.replace(development, validation=0)
    assert compare_splits(drawn_anew, drawn(2, 500))[0].startswith(
        "2 of 2300 development images are copies of others"
    )


def test_validation_images_in_the_test_set_are_counted():
    held, test = drawn(3, 300), drawn(2, 500)
    test.images[:3] = held.images[5:8]
    (note,) = compare_splits(drawn(1).with_validation(held), test)
    assert note.startswith("3 of 500 test images are also validation images")


def test_classes_without_an_example_are_named():
    """At most five of them."""
    test = drawn(2, 500, shares=[0.5, 0, 0.5, 0])
    expected = "expected one of each class, or the class left out"
    notes = compare_splits(drawn(1), test)
    assert f"test: no example of class 1, class 3; {expected}" in notes
    many = [Arrays(part.images, part.labels, 20) for part in (drawn(1), drawn(2, 500))]
    assert compare_splits(*many) == [
        f"test: no example of class 4, class 5, class 6, class 7, class 8 and 11 others; {expected}"
    ]


def test_comparing_images_takes_little_memory():
    """Sorted copies of the images would take twice their size."""
    images = np.random.default_rng(0).integers(0, 256, (6000, 3, 32, 32), np.uint8)
    halves = [Arrays(part, np.arange(3000) % 10, 10) for part in (images[:3000], images[3000:])]
    tracemalloc.start()
    try:
        compare_splits(*halves)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < images.nbytes / 8


def test_warnings_of_sources_are_printed_at_once_and_kept_without_their_folder(tmp_path, capsys):
    logger = logging.getLogger("pipeline.data.sources.table")
    with collect_notes() as notes:
        logger.warning("%s: %d of %d rows left out", tmp_path / "a\x1b[31m.csv", 2, 9)
        assert capsys.readouterr().err == (
            f"warning: {tmp_path}/a\\x1b[31m.csv: 2 of 9 rows left out\n"
        )
        logger.info("not a warning")
        logger.warning("100 % of it")
    logger.warning("after it")
    assert notes == ["a\\x1b[31m.csv: 2 of 9 rows left out", "100 % of it"]
