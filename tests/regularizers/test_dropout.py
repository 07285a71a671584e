"""Dropout against enumeration of every mask (oracles O1.1 to O1.5)."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.regularizers.base import Changes, Evidence, NoEffect, noise_layers, seed_noise, switch
from pipeline.regularizers.dropout import Dropout, DropoutLayer, dropout

RATE = 0.3


def masks(size):
    """Every mask of `size` units with its probability."""
    for bits in itertools.product([True, False], repeat=size):
        kept = torch.tensor(bits)
        yield kept, math.prod(1 - RATE if bit else RATE for bit in bits)


def test_mean_and_variance_by_enumeration():
    """O1.1, O1.4: the mean is the input, the variance x^2 rate / (1 - rate)."""
    inputs = torch.randn(6, dtype=torch.float64)
    mean = sum(chance * dropout(inputs, kept, RATE) for kept, chance in masks(6))
    square = sum(chance * dropout(inputs, kept, RATE) ** 2 for kept, chance in masks(6))
    assert torch.allclose(mean, inputs, atol=1e-14)
    assert torch.allclose(square - mean**2, inputs**2 * RATE / (1 - RATE), atol=1e-14)


def test_normalised_geometric_mean_is_weight_scaling():
    """O1.2: one softmax layer; the arithmetic mean is not."""
    torch.manual_seed(0)
    layer, inputs = nn.Linear(7, 4).double(), torch.randn(7, dtype=torch.float64)
    softmax = [(chance, functional.softmax(layer(dropout(inputs, kept, RATE)), 0)) for kept, chance in masks(7)]
    geometric = torch.exp(sum(chance * probabilities.log() for chance, probabilities in softmax))
    scaled = functional.softmax(layer(inputs), 0)
    assert torch.allclose(geometric / geometric.sum(), scaled, atol=1e-14)
    arithmetic = sum(chance * probabilities for chance, probabilities in softmax)
    assert (arithmetic - scaled).abs().max() > 1e-3


def test_ridge_identity():
    """O1.3: the expected squared error is that of the mean plus rate / (1 - rate) times a penalty."""
    torch.manual_seed(1)
    inputs, weights, targets = (torch.randn(*shape, dtype=torch.float64) for shape in ((5, 4), (4,), (5,)))
    expected = torch.zeros((), dtype=torch.float64)
    for row, target in zip(inputs, targets, strict=True):
        expected += sum(chance * (target - dropout(row, kept, RATE) @ weights) ** 2 for kept, chance in masks(4))
    penalty = ((inputs.square().sum(0)) * weights.square()).sum() * RATE / (1 - RATE)
    assert torch.allclose(expected, (targets - inputs @ weights).square().sum() + penalty, atol=1e-12)


def test_kept_share_is_binomial_and_masks_are_per_example():
    layer = DropoutLayer("x", RATE)
    layer.sampling = True
    inputs = torch.ones(2000, 10)
    out = layer(inputs)
    share = float((out > 0).float().mean())
    assert abs(share - (1 - RATE)) < 4 * math.sqrt(RATE * (1 - RATE) / inputs.numel())
    assert len({tuple(row.tolist()) for row in out}) > 100
    assert out.unique().tolist() == pytest.approx([0.0, 1 / (1 - RATE)])


def test_deterministic_is_identity():
    layer = DropoutLayer("x", RATE)
    inputs = torch.rand(3, 4)
    assert layer(inputs) is inputs
    layer.train()
    assert layer(inputs) is inputs


def test_it_acts_before_every_linear_layer():
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    Dropout(rate=0.5).modify_model(network)
    assert [layer.site for layer in noise_layers(network)] == ["1", "3"]
    switch(network, training=True, sampling=True)
    seed_noise(noise_layers(network), 0, 0)
    seen = []
    network[1].register_forward_hook(lambda module, arguments, output: seen.append(arguments[0]))
    network(torch.ones(50, 8))
    assert 0.3 < float((seen[0] == 0).float().mean()) < 0.7


def test_gradient():
    kept = torch.rand(3, 4) > RATE
    inputs = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: dropout(values, kept, RATE), inputs)


def test_the_audit_counts_what_was_dropped_and_catches_a_rate_never_applied(monkeypatch):
    network = nn.Sequential(nn.Linear(50, 50))
    regularizer = Dropout(rate=0.5)
    regularizer.modify_model(network)
    switch(network, training=True, sampling=True)
    network(torch.ones(100, 50))
    evidence = Evidence(network, [], 0.0, Changes())
    measures = regularizer.audit(evidence)
    assert measures["sites"] == 1
    assert abs(measures["realised_rate"] - 0.5) < 4 * 0.5 / math.sqrt(5000)
    broken = nn.Sequential(nn.Linear(50, 50))
    regularizer.modify_model(broken)
    noise_layers(broken)[0].rate = 0.0  # the planted bug
    switch(broken, training=True, sampling=True)
    broken(torch.ones(100, 50))
    with pytest.raises(NoEffect, match="none of 5000 units at 1 sites was dropped at rate 0.5"):
        regularizer.audit(Evidence(broken, [], 0.0, Changes()))
