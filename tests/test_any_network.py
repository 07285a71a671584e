"""Every regularizer on networks that were not written for it: a CNN, an MLP, a residual net."""

import copy
import functools
import itertools

import pytest
import torch
from declarations import NAMES, strong
from foreign import ForeignBlock
from torch import nn
from torch.nn import functional

from pipeline import models, regularizers
from pipeline.data.arrays import Arrays
from pipeline.models._standardized import Inputs, Standardized
from pipeline.regularizers._noise import noise_layers, seed_noise, switch
from pipeline.runtime.errors import Refusal
from pipeline.training.trainer import train

KINDS = ("mlp", "cnn", "foreign")
SHAPE = (1, 12, 12)
BUILD = models.build


def foreign() -> nn.Module:
    """Return a small residual net in that style, pooling included."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        *(ForeignBlock(4, 4), ForeignBlock(4, 8), nn.MaxPool2d(2), ForeignBlock(8, 8)),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10)),
    )


def network(kind: str) -> Standardized:
    torch.manual_seed(0)
    return built(kind)


def built(kind: str) -> Standardized:
    if kind == "foreign":
        return Standardized(foreign(), Inputs((1, 8, 8)))
    return BUILD({"name": kind, **models.settings()[kind]().model_dump()}, SHAPE, 10)


def regularizer(name):
    return regularizers.settings()[name](**strong(name))


networks = functools.cache(network)


def has_sites(name, kind):
    return len(regularizer(name).sites(networks(kind))) > 0


PAIRS = list(itertools.product(NAMES, KINDS))
APPLICABLE = [pair for pair in PAIRS if has_sites(*pair)]
ABSENT = [pair for pair in PAIRS if pair not in APPLICABLE]


def test_every_regularizer_acts_on_some_network_and_some_on_none():
    assert {name for name, _ in APPLICABLE} == set(NAMES)
    assert ("stochastic_depth", "mlp") in ABSENT
    assert ("spatial_dropout", "mlp") in ABSENT


@pytest.mark.parametrize(("name", "kind"), ABSENT)
def test_without_a_site_it_says_what_it_looked_for(name, kind):
    with pytest.raises(Refusal, match=f"^{name}: the network has no ") as refused:
        regularizers.equip(network(kind), [regularizer(name)])
    assert len(refused.value.lines) == 1


@pytest.mark.parametrize(("name", "kind"), APPLICABLE)
def test_it_acts_and_leaves_names_and_weights(name, kind):
    net = network(kind)
    plain = copy.deepcopy(net)
    regularizers.equip(net, [regularizer(name)])
    assert net.state_dict().keys() == plain.state_dict().keys()
    assert all(
        torch.equal(value, plain.state_dict()[key]) for key, value in net.state_dict().items()
    )
    images, labels = torch.rand(16, *SHAPE), torch.arange(16) % 10
    layers = noise_layers(net)
    switch(net, training=True, sampling=True)
    seed_noise(layers, 0, 0)
    for _ in range(3):
        functional.cross_entropy(net(images), labels).backward()
    assert all(
        torch.isfinite(parameter.grad).all()
        for parameter in net.parameters()
        if parameter.grad is not None
    )
    if layers:
        switch(net, training=False, sampling=True)
        outputs = {tuple(net(images).detach().flatten().tolist()) for _ in range(4)}
        assert len(outputs) > 1
        switch(net, training=False, sampling=False)
        assert torch.equal(net(images), net(images))
        copied = copy.deepcopy(net)
        assert torch.equal(net(images), copied(images))


@pytest.fixture(scope="module")
def images(pool):
    """Return digits of 12 by 12 pixels, which leave all three networks something to pool."""
    larger = functional.interpolate(torch.from_numpy(pool.images[:200]), SHAPE[1:], mode="bilinear")
    return Arrays(larger.clamp(0, 1).numpy(), pool.labels[:200], pool.classes)


@pytest.mark.parametrize(("name", "kind"), APPLICABLE)
def test_two_steps_lead_elsewhere_than_those_of_the_baseline(
    name, kind, configure, images, monkeypatch
):
    """Whatever it acts by: layers, the optimizer, batches or callbacks."""
    monkeypatch.setattr(models, "build", lambda given, shape, classes: built(given["name"]))

    def two_steps(*chosen):
        config = configure(*chosen, epochs=1, batch_size=15, schedule={"name": "constant"})
        trained = train(config.model_copy(update={"model": {"name": kind, "of": __name__}}), images)
        assert trained.cost["updates"] == 2
        return trained

    weights = two_steps({"name": name, **regularizer(name).model_dump()})
    baseline = two_steps()
    activity = regularizer(name).activity
    assert activity is None or activity in weights.audit[name]
    same = all(torch.equal(weights.weights[key], value) for key, value in baseline.weights.items())
    assert weights.idle == [name] * same  # early stopping may rightly not stop
