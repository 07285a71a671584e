"""Batches: every example once, another order every epoch, the same order for every arm."""

import torch

from pipeline.data.loader import Batches, as_fractions


def batches(count=10, size=3, seed=0):
    return Batches(torch.arange(count).float().view(-1, 1, 1, 1), torch.eye(count), size, seed)


def visited(loader, epoch):
    loader.epoch = epoch
    return [int(value) for images, _ in loader for value in images.flatten()]


def test_full_batches_without_repeats():
    loader = batches()
    assert len(loader) == 3
    assert len(set(visited(loader, 0))) == 9
    assert all(len(images) == 3 for images, _ in loader)


def test_targets_stay_with_their_images():
    for images, targets in batches():
        assert (targets.argmax(1) == images.flatten().long()).all()


def test_order_depends_on_seed_and_epoch_alone():
    assert visited(batches(), 4) == visited(batches(), 4)
    assert visited(batches(), 4) != visited(batches(), 5)
    assert visited(batches(), 4) != visited(batches(seed=1), 4)
    torch.manual_seed(1)
    one = visited(batches(), 4)
    torch.manual_seed(2)
    assert visited(batches(), 4) == one


def test_iterating_draws_nothing_from_the_global_generator():
    before = torch.random.get_rng_state()
    visited(batches(), 0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_batch_larger_than_the_data_is_all_of_it():
    assert len(visited(batches(count=4, size=9), 0)) == 4


def test_bytes_are_kept_as_they_are_and_a_batch_has_their_fractions():
    images = torch.randint(0, 256, (9, 3, 4, 4), dtype=torch.uint8)
    loader, floats = (
        Batches(given, torch.eye(9), 3, 0) for given in (images, as_fractions(images))
    )
    assert loader.images is images
    assert all(torch.equal(one, other) for (one, _), (other, _) in zip(loader, floats, strict=True))
