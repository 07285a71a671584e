"""Spatial dropout against enumeration, and against dropout pixel by pixel."""

import itertools
import math

import pytest
import torch
from declarations import weakened
from torch import nn

from pipeline import models
from pipeline.regularizers import spatial_dropout as module
from pipeline.regularizers._audit import AuditInputs, BatchChanges, NoEffect
from pipeline.regularizers._noise import noise_layers, switch
from pipeline.regularizers.spatial_dropout import (
    SpatialDropout,
    SpatialDropoutLayer,
    spatial_dropout,
)
from pipeline.runtime.errors import Refusal

FAULTS = weakened("rate")


RATE = 0.3


def test_mean_and_variance_by_enumeration():
    maps = torch.randn(1, 4, 2, 3, dtype=torch.float64)
    mean = square = 0
    for bits in itertools.product([True, False], repeat=4):
        chance = math.prod(1 - RATE if bit else RATE for bit in bits)
        outputs = spatial_dropout(maps, torch.tensor([bits]), RATE)
        mean, square = mean + chance * outputs, square + chance * outputs**2
    assert torch.allclose(mean, maps, atol=1e-14)
    assert torch.allclose(square - mean**2, maps**2 * RATE / (1 - RATE), atol=1e-14)


def test_whole_maps_per_example():
    layer = SpatialDropoutLayer("x", RATE)
    layer.sampling = True
    outputs = layer(torch.ones(2000, 6, 3, 3).to(memory_format=torch.channels_last))
    assert outputs.is_contiguous(memory_format=torch.channels_last)
    assert (outputs == outputs[:, :, :1, :1]).all()  # a map is kept or dropped as one
    share = float((outputs[:, :, 0, 0] == 0).float().mean())
    assert abs(share - RATE) < 4 * math.sqrt(RATE * (1 - RATE) / 12000)
    assert len({tuple(row.tolist()) for row in outputs[:, :, 0, 0]}) > 50
    assert outputs.unique().tolist() == pytest.approx([0, 1 / (1 - RATE)])


@pytest.mark.parametrize(("name", "sites"), [("resnet", 19), ("cnn", 4)])
def test_it_acts_after_the_convolutions(name, sites):
    network = models.build({"name": name, **models.settings()[name]().model_dump()}, (1, 8, 8), 10)
    before = list(network.state_dict())
    regularizer = SpatialDropout(rate=0.5)
    regularizer.modify_model(network)
    assert list(network.state_dict()) == before
    switch(network, training=True, sampling=True)
    seen = []
    for _, convolution in module.convolutions(network):
        convolution.register_forward_hook(
            lambda owner, arguments, output: seen.append(output.flatten(2).abs().sum(2) == 0)
        )
    network(torch.rand(50, 1, 8, 8))
    assert len(seen) == sites
    assert all(0.3 < float(dropped.float().mean()) < 0.7 for dropped in seen)
    measures = regularizer.audit(AuditInputs(network, [], 0.0, BatchChanges()))
    assert measures["sites"] == sites
    assert abs(measures["realised_rate"] - 0.5) < 0.05


def test_a_network_without_convolutions_raises():
    for network in (nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Conv2d(1, 1, 1))):
        with pytest.raises(Refusal, match="no convolution that sees more than one pixel"):
            SpatialDropout().modify_model(network)


def test_gradient():
    kept = torch.rand(2, 3) > RATE
    maps = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: spatial_dropout(values, kept, RATE), maps)


def used(regularizer, change=lambda layer: None):
    network = nn.Sequential(nn.Conv2d(1, 8, 3))
    regularizer.modify_model(network)
    change(noise_layers(network)[0])
    switch(network, training=True, sampling=True)
    network(torch.rand(50, 1, 5, 5))
    return AuditInputs(network, [], 0.0, BatchChanges())


def test_the_audit_catches_a_rate_never_applied_and_an_input_returned(monkeypatch):
    regularizer = SpatialDropout(rate=0.5)
    with pytest.raises(
        NoEffect, match="0 of 400 feature maps at 0 were dropped, a share of 0; expected 0.5"
    ):
        regularizer.audit(used(regularizer, lambda layer: setattr(layer, "rate", 0.0)))
    monkeypatch.setattr(module, "spatial_dropout", lambda maps, kept, rate: maps)
    with pytest.raises(NoEffect, match="the output of 0 equals its input in all of 1 passes"):
        regularizer.audit(used(regularizer))
    with pytest.raises(NoEffect, match="no mask was drawn"):
        regularizer.audit(AuditInputs(nn.Sequential(), [], 0.0, BatchChanges()))
