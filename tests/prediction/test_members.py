"""Members: the switch alone decides, draws are named, batch norm never moves."""

import itertools

import pytest
import torch
from torch import nn

from pipeline import regularizers
from pipeline.config.test_rules import DETERMINISTIC, NOISE, TestRule
from pipeline.data.loader import as_fractions
from pipeline.prediction.members import (
    CHUNK,
    augmented,
    by_rule,
    deterministic,
    noise,
    trained,
    view,
)
from pipeline.prediction.network import as_images, assemble
from pipeline.prediction.tensors import PASSES, VIEWS, TrainedRun, predictions
from pipeline.records.predictions import View
from pipeline.regularizers._noise import switch
from pipeline.regularizers.dropout import Dropout
from pipeline.runtime.errors import Refusal

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
    (
        deterministic(network, images),
        noise(network, images, 2, 0),
        trained(network, images, 2, chosen, (0, 0)),
    )
    assert all(
        torch.equal(before[name], value)
        for name, value in network.named_buffers()
        if name in before
    )
    assert network.training


def test_the_global_generator_is_left_alone(built, images):
    network, chosen, _ = built(DROPOUT, SHIFT)
    before = torch.random.get_rng_state()
    (
        augmented(network, images, 2, chosen, 0),
        trained(network, images, 2, chosen, (0, 0)),
        noise(network, images, 2, 0),
    )
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_mean_of_many_passes_of_a_linear_head_is_the_deterministic_one(built, images):
    """Where dropout acts on the last layer alone."""
    network, _, _ = built(DROPOUT)
    for layer in (
        module for module in network.modules() if type(module).__name__ == "DropoutLayer"
    ):
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
    assert torch.equal(
        augmented(network, images, 3, chosen, 3), trained(network, images, 3, chosen, (3, 0))
    )


def test_the_rule_names_its_members(built, images):
    network, _, _ = built(DROPOUT)
    assert torch.equal(by_rule(network, images, DETERMINISTIC, 0), deterministic(network, images))
    assert torch.equal(by_rule(network, images, NOISE, 0), noise(network, images, 12, 0))
    fewer = TestRule(view="noise", members=3)
    assert torch.equal(by_rule(network, images, fewer, 0), noise(network, images, 3, 0))


def test_prediction_does_not_depend_on_how_many_images_there_are(built, pool):
    network, _, _ = built()
    images = as_images(pool.images[: CHUNK + 7])
    assert torch.equal(
        deterministic(network, images)[:, :CHUNK], deterministic(network, images[:CHUNK])
    )


@pytest.fixture
def predict(configure, pool, images):
    """Return predictions of initial weights: 30 images to train on, 9 to validate, 5 to test."""
    splits = {"train": images, "validation": images[:9], "test": images[:5]}

    def made(*items, viewed=False, flips_keep=False, kept=None, streams=None):
        config = configure(*items, streams=streams)
        chosen = regularizers.build(config.regularizers)
        weights = assemble(config, chosen, pool.shape, pool.classes).state_dict()
        states = {
            kind: [{key: value * scale for key, value in weights.items()} for scale in scales]
            for kind, scales in (kept or {}).items()
        }
        run = TrainedRun(config, chosen, weights, states)
        return predictions(run, splits, pool.classes, viewed, flips_keep)

    return made


TRAINED = View("train", "trained")
AUGMENTED = View("train", "augmented")
NOISY = {View("test", "noise"): PASSES, TRAINED: VIEWS}
RULED = NOISY | {View("validation", "noise"): NOISE.members}
SEEN = NOISY | {View("validation", "noise"): PASSES}


def held(kind):
    return {View("validation", kind), View("test", kind)}


def test_each_stream_feeds_its_own_members(predict):
    one = predict(DROPOUT, SHIFT, viewed=True)
    noisy = predict(DROPOUT, SHIFT, viewed=True, streams={"noise": 9})
    moved = predict(DROPOUT, SHIFT, viewed=True, streams={"augmentation": 9})
    changed = {view for view in one if not torch.equal(one[view], noisy[view])}
    assert changed == held("noise") | {TRAINED}
    changed = {view for view in one if not torch.equal(one[view], moved[view])}
    assert changed == held("draws") | {AUGMENTED, TRAINED}


@pytest.mark.parametrize(
    ("items", "options", "extra"),
    [
        ((), {}, {}),
        ((DROPOUT,), {}, NOISY),
        ((DROPOUT,), {"viewed": True}, SEEN),
        (({"name": "fractional_max_pooling", "ratio": 1.41},), {}, RULED),
        (({"name": "mixup"},), {"viewed": True}, {AUGMENTED: VIEWS}),
        (({"name": "label_smoothing"},), {"viewed": True}, {AUGMENTED: VIEWS}),
        (({"name": "augmentation", "flip": 0.5},), {"viewed": True}, {AUGMENTED: VIEWS}),
        (
            ({"name": "augmentation", "flip": 0.5},),
            {"viewed": True, "flips_keep": True},
            dict.fromkeys(held("draws"), VIEWS) | {AUGMENTED: VIEWS},
        ),
        ((SHIFT,), {}, {AUGMENTED: VIEWS}),
        ((SHIFT,), {"viewed": True}, dict.fromkeys(held("draws"), VIEWS) | {AUGMENTED: VIEWS}),
        ((), {"viewed": True}, dict.fromkeys(held("crops"), 5)),
        ((), {"viewed": True, "flips_keep": True}, dict.fromkeys(held("crops"), 10)),
        ((), {"kept": {"raw": (0.5,)}}, dict.fromkeys(held("raw"), 1)),
        (
            (),
            {"kept": {"snapshots": (0.5, 0.25), "raw": (0.5,)}},
            dict.fromkeys(held("snapshots"), 2) | dict.fromkeys(held("raw"), 1),
        ),
        (({"name": "dropconnect", "rate": 0.5},), {}, NOISY | dict.fromkeys(held("moments"), 1)),
    ],
)
def test_every_split_gets_the_members_it_needs(predict, items, options, extra):
    predicted = predict(*items, **options)
    plain = {View(split, "deterministic"): 1 for split in ("train", "validation", "test")}
    assert {view: len(logits) for view, logits in predicted.items()} == plain | extra
    sizes = {"train": 30, "validation": 9, "test": 5}
    assert all(logits.shape[1:] == (sizes[view.split], 10) for view, logits in predicted.items())
    assert all(logits.dtype == torch.float32 for logits in predicted.values())


def test_rows_of_a_table_have_no_crops(configure):
    config = configure().model_copy(update={"model": {"name": "mlp", "hidden": [3]}})
    rows = torch.rand(6, 4, 1, 1)
    weights = assemble(config, [], (4, 1, 1), 2).state_dict()
    run = TrainedRun(config, [], weights, {})
    predicted = predictions(
        run, dict.fromkeys(("train", "validation", "test"), rows), 2, True, True
    )
    assert {view.kind for view in predicted} == {"deterministic"}


def test_snapshots_come_in_the_order_of_training(predict):
    scales = [1 / number for number in range(1, 12)]
    test = View("test", "snapshots")
    snapshots = predict(kept={"snapshots": scales})[test]
    assert len(snapshots) == 11
    for place, scale in enumerate(scales):
        (alone,) = predict(kept={"snapshots": [scale]})[test]
        assert torch.equal(snapshots[place], alone)
    assert len(torch.unique(snapshots, dim=0)) == 11


def test_kept_weights_predict_and_leave_the_run_s_own_alone(predict):
    predicted = predict(kept={"raw": (0.5,), "snapshots": (0.5, 1.0)})
    plain = predict()
    for split in ("validation", "test"):
        logits = predicted[View(split, "deterministic")]
        assert torch.equal(logits, plain[View(split, "deterministic")])
        assert not torch.equal(predicted[View(split, "raw")], logits)
        assert torch.equal(predicted[View(split, "snapshots")][0], predicted[View(split, "raw")][0])
        assert torch.equal(predicted[View(split, "snapshots")][1], logits[0])


def test_moments_are_another_form_of_the_same_weights(predict):
    predicted = predict({"name": "dropconnect", "rate": 0.5})
    gaussian = predict({"name": "dropconnect", "rate": 0.5, "inference": "gaussian"})
    moments, plain = View("test", "moments"), View("test", "deterministic")
    assert torch.equal(predicted[moments], gaussian[plain])
    assert not torch.equal(predicted[moments], predicted[plain])


def test_zero_passes_raise(built, images):
    network, chosen, _ = built(DROPOUT)
    for number in (0, -1, 2.5):
        with pytest.raises(
            Refusal, match=f"noise passes: invalid value {number}; expected an integer >= 1"
        ):
            noise(network, images, number, seed=0)
        with pytest.raises(Refusal, match=f"views: invalid value {number}"):
            augmented(network, images, number, chosen, seed=0)


def test_every_chunk_of_a_pass_draws_its_own_masks(built, pool):
    network, _, _ = built(DROPOUT)
    images = as_images(pool.images[:1]).repeat(2 * CHUNK, 1, 1, 1)
    (member,) = noise(network, images, 1, seed=0)
    assert not torch.equal(member[:CHUNK], member[CHUNK:])


def test_many_passes_are_the_mean_over_every_mask_and_better_than_one():
    """The 16 masks of four hidden units are the limit of T passes; NLL falls with T (Jensen)."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))
    images, labels, rate = torch.randn(6, 1, 1, 3), torch.arange(6) % 3, 0.4
    hidden = network[:3](images).detach()
    exact, single = torch.zeros(6, 3), torch.zeros(6)
    for bits in itertools.product((0.0, 1.0), repeat=4):
        mask = torch.tensor(bits)
        chance = float((1 - rate) ** mask.sum() * rate ** (4 - mask.sum()))
        probabilities = network[3](hidden * mask / (1 - rate)).detach().softmax(1)
        exact += chance * probabilities
        single -= chance * probabilities[torch.arange(6), labels].log()
    Dropout(rate=rate).modify_model(network)
    passes = noise(network, images, 4000, seed=0).softmax(2)
    assert ((passes.mean(0) - exact).abs() <= 5 * passes.std(0) / 4000**0.5 + 1e-6).all()
    grouped = {size: passes.view(-1, size, 6, 3).mean(1) for size in (1, 10, 100)}
    errors = {size: float((means - exact).abs().mean()) for size, means in grouped.items()}
    assert errors[1] > 2.5 * errors[10] > 6 * errors[100]
    assert (single >= -exact[torch.arange(6), labels].log()).all()


def test_bytes_are_fractions_by_the_chunk(configure, pool):
    images = as_images((pool.images[: CHUNK + 7] * 255).round().astype("uint8"))
    assert images.dtype == torch.uint8
    network = assemble(configure(), (), pool.shape, pool.classes)
    assert torch.equal(deterministic(network, images), deterministic(network, as_fractions(images)))
    assert as_fractions(images).max() == 1
