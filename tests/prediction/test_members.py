"""Members: the switch alone decides, draws are named, batch norm never moves."""

import pytest
import torch

from pipeline import regularizers
from pipeline.config.rules import DETERMINISTIC, NOISE, NOISE_PASSES
from pipeline.prediction.members import CHUNK, augmented, by_rule, deterministic, noise, trained, view
from pipeline.prediction.network import as_images, assemble
from pipeline.prediction.tensors import VIEWS, predictions
from pipeline.regularizers.base import switch

DROPOUT = {"name": "dropout", "rate": 0.5}
SHIFT = {"name": "augmentation", "shift": 1.0}


@pytest.fixture
def images(pool):
    return as_images(pool.images[:30])


@pytest.fixture
def built(configure, pool):
    def made(*items):
        config = configure(*items)
        chosen = regularizers.build(config.regularizers)
        return assemble(config, chosen, pool.shape, pool.classes), chosen, config.streams

    return made


def test_shapes_and_prefixes(built, images):
    network, _, _ = built(DROPOUT)
    passes = noise(network, images, 5, seed=1)
    assert deterministic(network, images).shape == (1, 30, 10)
    assert passes.shape == (5, 30, 10)
    assert torch.equal(passes[:2], noise(network, images, 2, seed=1))
    assert not torch.equal(passes[0], passes[1])
    assert not torch.equal(passes, noise(network, images, 5, seed=2))


def test_batch_norm_is_frozen_and_the_mode_put_back(built, images):
    network, chosen, _ = built(DROPOUT, SHIFT)
    switch(network, training=True, sampling=True)
    before = {name: value.clone() for name, value in network.named_buffers() if "running" in name}
    deterministic(network, images), noise(network, images, 2, 0), trained(network, images, 2, chosen, (0, 0))
    assert all(torch.equal(before[name], value) for name, value in network.named_buffers() if name in before)
    assert network.training


def test_the_global_generator_is_left_alone(built, images):
    network, chosen, _ = built(DROPOUT, SHIFT)
    before = torch.random.get_rng_state()
    augmented(network, images, 2, chosen, 0), trained(network, images, 2, chosen, (0, 0)), noise(network, images, 2, 0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_mean_of_many_passes_of_a_linear_head_is_the_deterministic_one(built, images):
    """O1.1, where dropout acts on the last layer alone."""
    network, _, _ = built(DROPOUT)
    for layer in (module for module in network.modules() if type(module).__name__ == "DropoutLayer"):
        layer.rate = 0.5 if layer.site.endswith(str(len(network.network) - 1)) else 0.0
    passes = noise(network, images, 400, seed=0)
    error = passes.mean(0) - deterministic(network, images)[0]
    assert (error.abs() <= 5 * passes.std(0) / 400**0.5 + 1e-6).all()


def test_views_are_those_of_training_and_shared_by_both_members(built, images):
    network, chosen, _ = built(SHIFT)
    one = view(images, chosen, seed=3, number=0)
    assert torch.equal(one, view(images, chosen, seed=3, number=0))
    assert not torch.equal(one, view(images, chosen, seed=3, number=1))
    assert not torch.equal(one, images)
    assert torch.equal(augmented(network, images, 3, chosen, 3), trained(network, images, 3, chosen, (3, 0)))


def test_the_rule_names_its_members(built, images):
    network, _, _ = built(DROPOUT)
    assert torch.equal(by_rule(network, images, DETERMINISTIC, 0), deterministic(network, images))
    assert torch.equal(by_rule(network, images, NOISE, 0), noise(network, images, NOISE_PASSES, 0))


def test_prediction_does_not_depend_on_how_many_images_there_are(built, pool):
    network, _, _ = built()
    images = as_images(pool.images[: CHUNK + 7])
    assert torch.equal(deterministic(network, images)[:, :CHUNK], deterministic(network, images[:CHUNK]))


def test_each_stream_feeds_its_own_members(built, images):
    network, chosen, streams = built(DROPOUT, SHIFT)
    splits = {"train": images, "validation": images[:9], "test": images[:5]}
    one = predictions(network, splits, chosen, streams)
    noisy = predictions(network, splits, chosen, streams.model_copy(update={"noise": 9}))
    moved = predictions(network, splits, chosen, streams.model_copy(update={"augmentation": 9}))
    differ = {name for name in one if not torch.equal(one[name], noisy[name])}
    assert differ == {"validation/noise", "test/noise", "train/trained"}
    assert {name for name in one if not torch.equal(one[name], moved[name])} == {"train/augmented", "train/trained"}


@pytest.mark.parametrize(
    ("items", "extra"),
    [
        ((), set()),
        ((DROPOUT,), {"validation/noise", "test/noise", "train/trained"}),
        ((SHIFT,), {"train/augmented"}),
        ((DROPOUT, SHIFT), {"validation/noise", "test/noise", "train/trained", "train/augmented"}),
    ],
)
def test_every_split_gets_the_members_it_needs(built, images, items, extra):
    network, chosen, streams = built(*items)
    tensors = predictions(network, {"train": images, "validation": images[:9], "test": images[:5]}, chosen, streams)
    assert set(tensors) == {"train/deterministic", "validation/deterministic", "test/deterministic"} | extra
    for name in extra:
        assert tensors[name].shape[0] == (VIEWS if name.startswith("train") else NOISE_PASSES)
