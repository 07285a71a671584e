"""What is said of a split: planted oddities are found, and nothing is said of a sound one."""

import dataclasses
import tracemalloc

import numpy as np
import pytest

from pipeline.data.arrays import Arrays
from pipeline.data.checks import notes

CLASSES = 4


def drawn(seed, count=2000, shares=None, brighter=0):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 200, (count, 3, 4, 4)).astype(np.uint8)
    images[:, 1] += np.uint8(brighter)
    return Arrays(images, generator.choice(CLASSES, count, p=shares), CLASSES)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_said_of_a_sound_split(seed):
    assert notes(drawn(seed), drawn(seed + 100, 500)) == []


def test_digits_are_sound(pool):
    assert notes(pool.take(np.arange(500)), pool.take(np.arange(500, 1000))) == []


def test_identical_images_are_counted():
    train, test = drawn(1), drawn(2, 500)
    test.images[:7] = train.images[100:107]
    assert notes(train, test) == [
        "7 of 500 test images are also among those to train on: scores on them are too good"
    ]


def test_another_share_of_classes_and_another_brightness_are_told():
    (said,) = notes(drawn(1), drawn(2, 500, shares=[0.4, 0.2, 0.2, 0.2]))
    assert said.startswith("test: classes are shared out differently than in training: 1")
    (said,) = notes(drawn(1), drawn(2, 500, brighter=20))
    assert said.startswith("test: channel 1 is on average 0.4")


def test_a_given_validation_set_is_looked_at_too():
    train, held = drawn(1), drawn(3, 300)
    held.images[:2] = train.images[:2]
    development = train.with_validation(held)
    assert notes(development, drawn(2, 500)) == [
        "2 of 300 validation images are also among those to train on: scores on them are too good"
    ]
    assert notes(dataclasses.replace(development, validation=0), drawn(2, 500)) == []


def test_what_is_validated_on_is_sought_in_the_test():
    held, test = drawn(3, 300), drawn(2, 500)
    test.images[:3] = held.images[5:8]
    assert notes(drawn(1).with_validation(held), test) == [
        "3 of 500 test images are also among those to validate on: scores on them are too good"
    ]


def test_classes_without_an_example_are_named():
    """At most five of them."""
    test = drawn(2, 500, shares=[0.5, 0, 0.5, 0])
    assert "test: no example of class 1, class 3" in notes(drawn(1), test)
    many = [Arrays(part.images, part.labels, 20) for part in (drawn(1), drawn(2, 500))]
    assert notes(*many) == [
        "test: no example of class 4, class 5, class 6, class 7, class 8 and 11 others"
    ]


def test_looking_at_images_takes_little_memory_beside_them():
    """100,000 colour images must leave room for a training: copies of all of them to sort took twice their size."""
    images = np.random.default_rng(0).integers(0, 256, (6000, 3, 32, 32), np.uint8)
    halves = [Arrays(part, np.arange(3000) % 10, 10) for part in (images[:3000], images[3000:])]
    tracemalloc.start()
    try:
        notes(*halves)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < images.nbytes / 8
