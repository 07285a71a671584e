"""What every regularizer promises, asked of each one that the folder holds."""

import itertools

import pytest
import torch
from pydantic import ValidationError

from pipeline import regularizers
from pipeline.config.rules import DETERMINISTIC, NOISE
from pipeline.data.loader import Batches
from pipeline.prediction.members import deterministic, noise
from pipeline.prediction.network import as_images, assemble
from pipeline.regularizers.base import noise_layers, switch
from pipeline.training.trainer import train

NAMES = regularizers.names()
SHOWN = {
    "augmentation": {"shift": 1.0, "rotate": 10.0},
    "weight_decay": {"strength": 0.05},
    "max_norm": {"limit": 0.5},
}  # where the default does nothing or little
SHARED_IN_A_BATCH = {"stochastic_depth"}  # by the paper: a block is skipped for the whole batch


def item(name):
    return {"name": name, **regularizers.settings()[name]().model_dump(), **SHOWN.get(name, {})}


def neutral(name):
    settings = regularizers.settings()[name].neutral()
    if settings is None:
        return None
    return {"name": name, **settings.model_dump()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", NAMES)
class TestEvery:
    """Each regularizer alone."""

    def test_default_constructible_frozen_and_documented(self, name):
        kind = regularizers.settings()[name]
        settings = kind()
        for field in kind.model_fields:
            with pytest.raises(ValidationError):
                setattr(settings, field, 0.1)
        assert kind.test_rule in (DETERMINISTIC, NOISE)
        module = __import__(kind.__module__, fromlist=["x"])
        assert "Test rule:" in module.__doc__
        assert kind.__doc__

    def test_initial_weights_untouched(self, name, configure, pool):
        plain, own = configure(), configure(item(name))
        one = assemble(plain, (), pool.shape, pool.classes).state_dict()
        other = assemble(own, regularizers.build(own.regularizers), pool.shape, pool.classes).state_dict()
        assert equal(one, other)

    def test_reproducible_whatever_the_global_generator(self, name, configure, pool):
        torch.manual_seed(1)
        one = train(configure(item(name)), pool)
        torch.manual_seed(2)
        other = train(configure(item(name)), pool)
        assert equal(one.weights, other.weights)
        assert one.history == other.history
        assert torch.equal(one.validation_logits, other.validation_logits)
        assert one.audit == other.audit

    def test_has_an_effect_and_says_so(self, name, configure, pool):
        trained = train(configure(item(name)), pool)
        assert trained.audit[name]
        if trained.audit[name].get("fired") != 0:  # what may rightly never fire says whether it did
            assert not equal(trained.weights, train(configure(), pool).weights)

    def test_neutral_equals_the_baseline_bit_for_bit(self, name, configure, pool):
        if neutral(name) is None:
            assert regularizers.settings()[name].neutral() is None
            return
        trained = train(configure(neutral(name)), pool)
        assert equal(trained.weights, train(configure(), pool).weights)

    def test_neutral_without_the_short_cut_equals_it_closely(self, name, configure, pool, monkeypatch):
        settings = regularizers.settings()[name].neutral()
        if settings is None:
            return
        monkeypatch.setattr(regularizers, "build", lambda given: (settings,))
        monkeypatch.setattr(type(settings), "audit", lambda self, evidence: {})
        trained = train(configure(neutral(name), epochs=1), pool)
        monkeypatch.undo()
        expected = train(configure(epochs=1), pool).weights
        assert all(torch.allclose(trained.weights[key].float(), expected[key].float(), atol=1e-4) for key in expected)

    def test_deterministic_member_ignores_the_noise_stream(self, name, configure, pool):
        config = configure(item(name))
        chosen = regularizers.build(config.regularizers)
        network = assemble(config, chosen, pool.shape, pool.classes)
        images = as_images(pool.images[:20])
        one = deterministic(network, images)
        for layer in noise_layers(network):
            layer.generator.manual_seed(123)
        assert torch.equal(one, deterministic(network, images))
        if noise_layers(network):
            passes = noise(network, images, 2, seed=0)
            assert not torch.equal(passes[0], passes[1])

    def test_moves_no_other_stream(self, name, configure, pool, monkeypatch):
        """Batch order, and what augmentation draws, are the same bit for bit with and without it."""
        shared = () if name == "augmentation" else (item("augmentation"),)
        without, own = configure(*shared), configure(item(name), *shared)
        assert drawn(monkeypatch, without, pool, Batches, "__iter__") == drawn(monkeypatch, own, pool, Batches, "__iter__")
        if shared:
            kind = regularizers.settings()["augmentation"]
            one, other = (drawn(monkeypatch, config, pool, kind, "modify_batch") for config in (without, own))
            assert len(one) == 6
            assert one == other


def drawn(monkeypatch, config, pool, owner, method):
    """The global generator's state and the epoch's order at each call of a method during training."""
    record, original = [], getattr(owner, method)

    def watched(self, *arguments):
        order = tuple(self.order().tolist()) if isinstance(self, Batches) else ()
        record.append(order or hash(torch.random.get_rng_state().numpy().tobytes()))
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, watched)
        train(config, pool)
    return record


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(NAMES, 2)))
def test_composes_pairwise(one, other, configure, pool):
    trained = train(configure(item(one), item(other), epochs=1), pool)
    assert set(trained.audit) == {one, other}
    assert not trained.diverged


@pytest.mark.parametrize("name", NAMES)
def test_one_mask_for_the_whole_batch_would_be_caught(name, configure, pool):
    """Equal examples of a batch get different outputs from every noise layer, each fed what it reads in a real pass."""
    config = configure(item(name))
    network = assemble(config, regularizers.build(config.regularizers), pool.shape, pool.classes)
    switch(network, training=False, sampling=True)
    image = as_images(pool.images[:1]).expand(64, -1, -1, -1)
    layers = noise_layers(network)
    if not layers or name in SHARED_IN_A_BATCH:
        return
    differing = {tuple(row.tolist()) for row in network(image).detach()}
    assert len(differing) > 1
