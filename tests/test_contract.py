"""What every regularizer promises, tested for each one in the folder and its declared variants."""

import functools
import itertools
import random

import numpy as np
import pytest
import torch
from declarations import (
    NAMES,
    Undeclared,
    augments,
    cases,
    declared,
    draws_per_image,
    faults,
    has_own_form,
    is_noisy,
    item,
    neutral,
    shares_a_draw,
)
from foreign import Drawing
from interrupted import assert_same_end, ended
from observed import watch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional
from weights import equal

from pipeline import models, regularizers
from pipeline.config.run import RunConfig
from pipeline.config.test_rules import TestRule
from pipeline.models._standardized import Inputs, Standardized
from pipeline.models.imported import probed
from pipeline.prediction.members import deterministic, noise
from pipeline.prediction.network import as_images, assemble
from pipeline.regularizers._audit import NoEffect
from pipeline.regularizers._noise import noise_layers, seed_noise, switch
from pipeline.regularizers._regularizer import batch_generator
from pipeline.regularizers.dropout import Dropout
from pipeline.runtime.errors import Refusal
from pipeline.training.task import Task
from pipeline.training.trainer import train

FAMILIES = {regularizers.settings()[name].family: name for name in NAMES}  # one of each


@pytest.fixture(scope="module")
def whole(pool):
    """Return a run by its settings and what it held at its end, trained once for this module."""

    @functools.cache
    def by_text(text):
        return ended(RunConfig.model_validate_json(text), pool)

    return lambda config: by_text(config.model_dump_json())


@pytest.fixture(scope="module")
def trained(whole):
    """Return a run by its settings, trained once for this module."""
    return lambda config: whole(config)[0]


@pytest.fixture(scope="module")
def observed(pool):
    """Return what the training of some settings draws; each is trained once for this module."""

    @functools.cache
    def by_text(text):
        with pytest.MonkeyPatch.context() as patch:
            seen = watch(patch)
            train(RunConfig.model_validate_json(text), pool)
        return seen

    return lambda config: by_text(config.model_dump_json())


def placed(config, pool):
    """Return the network of a run before training, and its regularizers."""
    chosen = regularizers.build(config.regularizers)
    return assemble(config, chosen, pool.shape, pool.classes), chosen


def smooth(network):
    """Move biases away from zero and replace ReLU.

    A unit whose weights and bias are dropped is on its kink.
    """
    for owner in list(shaken(network).modules()):
        for name, module in list(owner.named_children()):
            if isinstance(module, nn.ReLU):
                setattr(owner, name, nn.Softplus())
    return network


def shaken(network):
    """Move biases and batch-norm statistics away from where they begin."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if value.dim() == 1:
            value += torch.rand(value.shape, generator=generator) * (1 if "var" in name else 0.2)
    return network


@pytest.mark.parametrize("name", NAMES)
def test_default_constructible_frozen_and_documented(name):
    kind = regularizers.settings()[name]
    settings = kind()
    assert kind.name == name
    assert isinstance(settings.test_rule, TestRule)
    assert "Test rule:" in __import__(kind.__module__, fromlist=["x"]).__doc__
    assert kind.__doc__
    for field in kind.model_fields:
        with pytest.raises(ValidationError):
            setattr(settings, field, 0.1)


@pytest.mark.parametrize("name", NAMES)
def test_settings_that_act_are_not_neutral(name):
    assert not regularizers.build([item(name)])[0].is_neutral()


@pytest.mark.parametrize("given", neutral())
def test_neutral_equals_the_baseline_bit_for_bit(given, configure, trained, pool):
    assert regularizers.build([given]) == ()
    assert equal(train(configure(given), pool).weights, trained(configure()).weights)


@pytest.mark.parametrize("given", neutral())
def test_neutral_without_the_short_cut_equals_it_closely(
    given, configure, trained, pool, monkeypatch
):
    settings = regularizers.parse(given)
    expected = trained(configure(epochs=1)).weights
    monkeypatch.setattr(regularizers, "build", lambda given: (settings,))
    monkeypatch.setattr(type(settings), "audit", lambda self, inputs: {})
    weights = train(configure(given, epochs=1), pool).weights
    assert all(
        torch.allclose(weights[key].float(), expected[key].float(), atol=1e-4) for key in expected
    )


@pytest.mark.parametrize(("name", "settings"), cases())
class TestEvery:
    """Each regularizer alone, with strong settings and with each of its variants."""

    def test_initial_weights_untouched(self, name, settings, configure, pool):
        weights, plain = (
            placed(config, pool)[0].state_dict()
            for config in (configure(item(name, settings)), configure())
        )
        assert equal(weights, plain)

    def test_has_an_effect_and_its_audit_reports_it(self, name, settings, configure, trained):
        regularized = trained(configure(item(name, settings)))
        assert regularized.audit[name]
        # a regularizer that may rightly never fire measures whether it did
        if regularized.audit[name].get("fired") != 0:
            assert not equal(regularized.weights, trained(configure()).weights)

    def test_moves_no_other_stream(self, name, settings, configure, observed):
        """Batch order and the draws of augmentation are the same bits with and without it."""
        shared = () if name == "augmentation" else (item("augmentation"),)
        without, regularized = (
            observed(config)
            for config in (configure(*shared), configure(item(name, settings), *shared))
        )
        assert regularized.orders == without.orders
        assert len(regularized.orders) > 0
        if shared:
            assert regularized.draws == without.draws
            assert len(regularized.draws) == 6

    def test_again_and_resumed_it_ends_at_the_same_bits_whatever_the_global_generator(
        self, name, settings, configure, whole, pool, tmp_path
    ):
        """Weights, optimizer, averaged weights, counters, history, logits, audit."""
        config = configure(item(name, settings))
        torch.manual_seed(1)
        uninterrupted = whole(config)
        torch.manual_seed(2)
        before = torch.random.get_rng_state()
        assert_same_end(config, pool, tmp_path, 1, whole=uninterrupted)
        assert torch.equal(torch.random.get_rng_state(), before)

    @pytest.mark.parametrize("steps", [0, 6])
    def test_gradients(self, name, settings, steps, configure, trained, pool):
        """Of the loss for images and weights: float64, fixed noise, both modes of batch norm."""
        config = configure(item(name, settings))
        network, chosen = placed(config, pool)
        if steps:
            run = trained(config)
            assert run.cost["updates"] == steps
            network.load_state_dict(run.weights)
        smooth(network.double())
        torch.manual_seed(0)
        images = (torch.rand(4, *pool.shape, dtype=torch.float64) * 0.6 + 0.2).requires_grad_()
        for training in (False, True):
            switch(network, training=training, sampling=True)
            given = (images, *network.parameters())
            assert torch.autograd.gradcheck(
                lambda images, *_: loss(network, chosen, images), given, fast_mode=True
            )


@pytest.fixture(scope="module")
def drawn(pool):
    """Return what a network draws in the passes of a training; each is trained once here."""

    @functools.cache
    def by_text(text):
        passes, step = [], Task.training_step

        def training_step(self, *batch):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Drawing, "note", lambda self, *drawn: passes.append(drawn))
                return step(self, *batch)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Task, "training_step", training_step)
            disturb(len(text))
            train(RunConfig.model_validate_json(text), pool)
        return tuple(zip(*passes, strict=True))

    return lambda config: by_text(config.model_dump_json())


@pytest.fixture
def drawing(configure, monkeypatch):
    """Return a function that makes the settings of a run of a network that draws itself."""

    def build(given, shape, classes):
        network = Drawing()
        return Standardized(network, Inputs(shape), probed(network, shape))

    monkeypatch.setattr(models, "build", build)
    return lambda *items: configure(*items).model_copy(update={"model": {"name": "drawing"}})


def disturb(seed):
    """Seed the global generators as if something else had drawn from them."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


@pytest.mark.parametrize("name", NAMES)
def test_draws_of_the_network_are_those_of_the_baseline(name, drawing, drawn):
    """From torch as each epoch begins: how many `RReLU` draws depends on its inputs."""
    (first, others), (expected_first, expected) = drawn(drawing(item(name))), drawn(drawing())
    assert others == expected
    assert len(others) == 6
    assert first[::3] == expected_first[::3]
    assert len(set(first)) == 6


@pytest.mark.parametrize("name", FAMILIES.values())
def test_a_network_that_draws_itself_resumes_at_the_same_bits(name, drawing, pool, tmp_path):
    """Whatever was drawn before."""
    config = drawing(item(name))
    disturb(0)
    run = ended(config, pool)
    disturb(1)
    assert_same_end(config, pool, tmp_path, 1, whole=run)


@pytest.mark.parametrize(("name", "settings"), cases(is_noisy))
class TestNoise:
    """Every case with noise layers."""

    def test_deterministic_member_ignores_the_noise_stream(self, name, settings, configure, pool):
        network, _ = placed(configure(item(name, settings)), pool)
        images = as_images(pool.images[:20])
        one = deterministic(network, images)
        for layer in noise_layers(network):
            layer.generator.manual_seed(123)
        assert torch.equal(one, deterministic(network, images))
        passes = noise(network, images, 6, seed=0)
        assert any(not torch.equal(passes[0], other) for other in passes[1:])

    def test_a_pass_draws_nothing_from_the_global_generator(self, name, settings, configure, pool):
        network, _ = placed(configure(item(name, settings)), pool)
        images, before = as_images(pool.images[:20]), torch.random.get_rng_state()
        for training in (True, False):
            switch(network, training=training, sampling=True)
            network(images)
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_equal_examples_of_a_batch_get_different_noise(self, name, settings, configure, pool):
        """From every noise layer alone, unless one draw is for all by design."""
        network, _ = placed(configure(item(name, settings)), pool)
        layers = noise_layers(network)
        assert layers
        for layer in layers:
            assert separates_equals(network, layer, pool) is not shares_a_draw(name, settings)

    def test_one_draw_for_a_whole_batch_would_be_seen(self, name, settings, configure, pool):
        network, _ = placed(configure(item(name, settings)), pool)
        layers = noise_layers(network)
        assert layers
        for layer in layers:
            layer.sample = repeating(layer.sample)
            assert separates_equals(network, layer, pool) is False


def is_plain(name, settings):
    return is_noisy(name, settings) and not has_own_form(name, settings)


def reads_its_input(name, settings):
    """Return whether a noise layer reads its input: one over convolutions returns it unread."""
    return is_plain(name, settings) and settings.get("where") != "convolution"


@pytest.mark.parametrize(("name", "settings"), cases(is_plain))
def test_deterministic_member_is_the_plain_network(name, settings, configure, pool):
    network, _ = placed(configure(item(name, settings)), pool)
    assert not acts_without_noise(network, configure, pool)


@pytest.mark.parametrize(("name", "settings"), cases(reads_its_input))
def test_acting_in_the_deterministic_member_would_be_seen(name, settings, configure, pool):
    network, _ = placed(configure(item(name, settings)), pool)
    layers = noise_layers(network)
    assert layers
    for layer in layers:
        plain, layer.deterministic = layer.deterministic, scaled(layer.deterministic)
        assert acts_without_noise(network, configure, pool)
        layer.deterministic = plain


@pytest.mark.parametrize(("name", "settings"), cases(augments))
def test_a_batch_is_changed_by_the_given_generator_alone(name, settings, pool):
    (regularizer,) = regularizers.build([item(name, settings)])
    images, targets = as_images(pool.images[:20]), torch.eye(20)
    before = torch.random.get_rng_state()
    one, again = (
        regularizer.modify_batch(images, targets, batch_generator(name, 0)) for _ in range(2)
    )
    assert all(torch.equal(first, second) for first, second in zip(one, again, strict=True))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("name", "settings"), cases(draws_per_image))
def test_equal_images_of_a_batch_are_changed_differently(name, settings, pool):
    (regularizer,) = regularizers.build([item(name, settings)])
    images = as_images(pool.images[:1]).expand(40, -1, -1, -1)
    changed, _ = regularizer.modify_batch(images, torch.zeros(40, 10), batch_generator(name, 0))
    assert not torch.allclose(changed, changed[:1].expand_as(changed), atol=1e-3)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(NAMES, 2)))
def test_composes_pairwise(one, other, configure, pool):
    """Or is rejected in one line, in either order, if a file declares that the two clash."""
    kinds = regularizers.settings()
    if other not in kinds[one].clashes and one not in kinds[other].clashes:
        regularized = train(configure(item(one), item(other), epochs=1), pool)
        assert set(regularized.audit) == {one, other}
        assert not regularized.diverged
        return
    for pair in ((one, other), (other, one)):
        with pytest.raises(Refusal, match=f"({one} with {other}|{other} with {one}): ") as refused:
            train(configure(*(item(name) for name in pair)), pool)
        assert len(refused.value.lines) == 1


def require_noticed(name, settings, fault, configure, run, pool, monkeypatch):
    """Check that the audit passes a sound run, with measures, and no run with the fault."""
    config = configure(item(name, settings), epochs=8)
    assert run(config).audit[name]
    fault(monkeypatch)
    with pytest.raises(NoEffect, match=f"^{name}: ") as noticed:
        train(config, pool)
    assert "\n" not in str(noticed.value)


@pytest.mark.parametrize(("name", "settings", "fault"), faults())
def test_the_audit_notices_planted_faults(
    name, settings, fault, configure, trained, pool, monkeypatch
):
    require_noticed(name, settings, fault, configure, trained, pool, monkeypatch)


@pytest.mark.parametrize("measures", [{}, {"sites": 1.0}])
def test_a_forgotten_audit_is_caught(measures, configure, pool, monkeypatch):
    """One that measures nothing, and one that never raises."""
    monkeypatch.setattr(Dropout, "audit", lambda self, inputs: measures)
    fault = declared("dropout").FAULTS[0]
    run = functools.partial(train, pool=pool)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        require_noticed("dropout", {}, fault, configure, run, pool, monkeypatch)


def test_a_test_file_without_a_planted_fault_is_caught(tmp_path):
    with pytest.raises(Undeclared, match=r"test_dropout.py: missing"):
        declared("dropout", tmp_path)
    (tmp_path / "test_dropout.py").write_text("STRONG = {}\n")
    with pytest.raises(Undeclared, match=r"test_dropout.py: FAULTS: missing"):
        declared("dropout", tmp_path)


def acts_without_noise(network, configure, pool):
    """Return whether the deterministic member differs from the plain network for equal weights."""
    plain, images = assemble(configure(), (), pool.shape, pool.classes), as_images(pool.images[:20])
    plain.load_state_dict(shaken(network).state_dict())
    logits, other = deterministic(network, images), deterministic(plain, images)
    return not torch.allclose(logits, other, atol=1e-6)


def separates_equals(network, layer, pool):
    """Return whether equal examples leave `layer` as different ones, given its input in a pass."""
    switch(network, training=False, sampling=False)
    layer.sampling, seen = True, []
    seed_noise([layer], 0)
    hook = layer.register_forward_hook(
        lambda module, arguments, output: seen.append(output.detach())
    )
    network(as_images(pool.images[:1]).expand(64, -1, -1, -1))
    hook.remove()
    (rows,) = seen
    return not torch.allclose(rows, rows[:1].expand_as(rows), atol=1e-4)


def loss(network, chosen, images):
    """Return what a training step minimizes, with the same draws at every call."""
    seed_noise(noise_layers(network), 0)
    targets = functional.one_hot(torch.arange(len(images)), 10).to(images.dtype)
    for regularizer in chosen:
        generator = batch_generator(regularizer.name, 0)
        images, targets = regularizer.modify_batch(images, targets, generator)
    return functional.cross_entropy(network(images), targets)


def repeating(sample):
    """Return the draw of the first example for all of them."""

    def repeated(inputs, *pieces):
        one = sample(inputs[:1], *(piece[:1] for piece in pieces))
        return one.expand(len(inputs), *[-1] * (inputs.dim() - 1))

    return repeated


def scaled(form):
    """Return the deterministic form times 0.9, as if nothing had been rescaled in training."""
    return lambda inputs: form(inputs) * 0.9
