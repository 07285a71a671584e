"""Dropout against enumeration of every mask (oracles O1.1 to O1.5)."""

import itertools
import json
import math

import pytest
import torch
from declarations import weakened
from torch import nn
from torch.nn import functional

from pipeline import models
from pipeline.config.validation import checked
from pipeline.regularizers import dropout as module
from pipeline.regularizers._audit import AuditInputs, BatchChanges, NoEffect
from pipeline.regularizers._noise import noise_layers, seed_noise, switch
from pipeline.regularizers.dropout import Dropout, DropoutLayer, dropout
from pipeline.runtime.errors import Refusal

VARIANTS = [{"where": "input"}, {"rate": [0.3, 0.5]}]
ALSO_NEUTRAL = [{"rate": 0.0, "where": "input"}, {"rate": [0.0, 0.0]}]
FAULTS = weakened("rate")


RATE = 0.3


def masks(size):
    """Return every mask of `size` units with its probability."""
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
    softmax = [
        (chance, functional.softmax(layer(dropout(inputs, kept, RATE)), 0))
        for kept, chance in masks(7)
    ]
    geometric = torch.exp(sum(chance * probabilities.log() for chance, probabilities in softmax))
    scaled = functional.softmax(layer(inputs), 0)
    assert torch.allclose(geometric / geometric.sum(), scaled, atol=1e-14)
    arithmetic = sum(chance * probabilities for chance, probabilities in softmax)
    assert (arithmetic - scaled).abs().max() > 1e-3


def test_ridge_identity():
    """O1.3: the expected squared error is that of the mean plus rate / (1 - rate) of a penalty."""
    torch.manual_seed(1)
    inputs, weights, targets = (
        torch.randn(*shape, dtype=torch.float64) for shape in ((5, 4), (4,), (5,))
    )
    expected = torch.zeros((), dtype=torch.float64)
    for row, target in zip(inputs, targets, strict=True):
        expected += sum(
            chance * (target - dropout(row, kept, RATE) @ weights) ** 2 for kept, chance in masks(4)
        )
    penalty = ((inputs.square().sum(0)) * weights.square()).sum() * RATE / (1 - RATE)
    assert torch.allclose(
        expected, (targets - inputs @ weights).square().sum() + penalty, atol=1e-12
    )


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


def shares(network, *numbers):
    """Return the share of zeros that each numbered module of a sequence reads."""
    seen = []
    switch(network, training=True, sampling=True)
    seed_noise(noise_layers(network), 0, 0)
    for number in numbers:
        network[number].register_forward_pre_hook(
            lambda module, arguments: seen.append(float((arguments[0] == 0).float().mean()))
        )
    network(torch.ones(500, 8))
    return seen


def test_it_acts_before_every_linear_layer_with_hidden_inputs():
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.Linear(6, 2))
    Dropout(rate=0.5).modify_model(network)
    assert [layer.site for layer in noise_layers(network)] == ["2"]
    one, two = shares(network, 1, 2)
    assert one == 0
    assert abs(two - 0.5) < 0.05


def test_one_rate_for_each_hidden_layer():
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 2))
    regularizer = Dropout(rate=[0.1, 0.5])
    regularizer.modify_model(network)
    assert shares(network, 2, 3) == pytest.approx([0.1, 0.5], abs=0.05)
    measures = regularizer.audit(AuditInputs(network, [], 0.0, BatchChanges()))
    assert measures["realised_rate_1"] == pytest.approx(0.1, abs=0.05)
    assert measures["realised_rate_2"] == pytest.approx(0.5, abs=0.05)
    with pytest.raises(Refusal, match="rate: 2 rates; expected 1, one for each hidden layer"):
        regularizer.modify_model(nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 2)))
    with pytest.raises(Refusal, match="no linear layer with hidden inputs"):
        Dropout().modify_model(nn.Sequential(nn.Linear(8, 6)))


@pytest.mark.parametrize("name", ["resnet", "mlp", "cnn"])
def test_input_drops_standardized_pixels_of_each_example(name):
    network = models.build({"name": name, **models.settings()[name]().model_dump()}, (1, 8, 8), 10)
    network.mean += 0.5
    before = list(network.state_dict())
    Dropout(rate=0.25, where="input").modify_model(network)
    assert list(network.state_dict()) == before
    (layer,) = noise_layers(network)
    seen = []
    layer.register_forward_hook(
        lambda module, arguments, output: seen.append((arguments[0], output))
    )
    switch(network, training=True, sampling=True)
    assert network(torch.ones(100, 1, 8, 8)).shape == (100, 10)
    ((read, given),) = seen  # once, with what stands after standardization
    assert torch.equal(read, torch.full((100, 1, 8, 8), 0.5))
    assert given.unique().tolist() == pytest.approx([0, 0.5 / 0.75])
    assert abs(float((given == 0).float().mean()) - 0.25) < 0.03
    assert len({tuple(row.flatten().tolist()) for row in given}) == 100


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rate": 1}, "a number >= 0 and < 1, or one for each hidden layer"),
        ({"rate": [0.1, 1.5]}, "invalid value [0.1, 1.5]; expected a number"),
        ({"rate": [0.1, True]}, "invalid value"),
        ({"rate": []}, "invalid value"),
        ({"rate": None}, "invalid value"),
        ({"rate": [0.1], "where": "input"}, "one rate where the input is dropped"),
        ({"where": "everywhere"}, "expected one of: hidden, input"),
    ],
)
def test_bad_settings_are_one_line(given, words):
    with pytest.raises(Refusal) as refusal:
        checked(Dropout, given, "a.yaml", "arms.a.0")
    (line,) = refusal.value.lines
    assert words in line


def test_settings_survive_a_record():
    for given in ({"rate": 0}, {"rate": [0.1, 0]}, {"rate": 0.2, "where": "input"}):
        settings = checked(Dropout, given, "a.yaml")
        assert (
            Dropout.model_validate(json.loads(settings.model_dump_json()), strict=False) == settings
        )
        assert Dropout(**given) == settings


def test_gradient():
    kept = torch.rand(3, 4) > RATE
    inputs = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: dropout(values, kept, RATE), inputs)


def trained_for_a_while(regularizer, network=None):
    network = network or nn.Sequential(nn.Linear(50, 50), nn.Linear(50, 50))
    if not noise_layers(network):
        regularizer.modify_model(network)
    switch(network, training=True, sampling=True)
    network(torch.ones(100, 50))
    return AuditInputs(network, [], 0.0, BatchChanges())


def test_the_audit_counts_what_was_dropped():
    regularizer = Dropout(rate=0.5)
    measures = regularizer.audit(trained_for_a_while(regularizer))
    assert measures["sites"] == 1
    assert abs(measures["realised_rate"] - 0.5) < 4 * 0.5 / math.sqrt(5000)
    assert set(measures) == {"sites", "realised_rate"}


def test_the_audit_catches_a_rate_never_applied_and_an_input_returned(monkeypatch):
    regularizer = Dropout(rate=0.5)
    broken = nn.Sequential(nn.Linear(50, 50), nn.Linear(50, 50))
    regularizer.modify_model(broken)
    noise_layers(broken)[0].rate = 0.0  # the planted bug
    with pytest.raises(
        NoEffect, match="0 of 5000 units at 1 were dropped, a share of 0; expected 0.5"
    ):
        regularizer.audit(trained_for_a_while(regularizer, broken))
    monkeypatch.setattr(module, "dropout", lambda inputs, kept, rate: inputs)
    with pytest.raises(NoEffect, match="the output of 1 equals its input in all of 1 passes"):
        regularizer.audit(trained_for_a_while(regularizer))
    unused = nn.Sequential(nn.Linear(50, 50), nn.Linear(50, 50))
    regularizer.modify_model(unused)
    with pytest.raises(NoEffect, match="no mask was drawn"):
        regularizer.audit(AuditInputs(unused, [], 0.0, BatchChanges()))


def test_equal_settings_under_two_spellings():
    network = models.build({"name": "mlp", "hidden": (6, 5)}, (1, 8, 8), 10)
    one, each = (Dropout(rate=rate).effect(network, (1, 8, 8)) for rate in (0.25, [0.25, 0.25]))
    assert one == each == {"where": "hidden", "rates": [0.25, 0.25]}
    assert Dropout(rate=[0.25, 0.5]).effect(network, (1, 8, 8)) != one
    assert Dropout(rate=0.25, where="input").effect(network, (1, 8, 8)) == {
        "where": "input",
        "rates": [0.25],
    }
    assert not noise_layers(network)
    with pytest.raises(Refusal, match="rate: 3 rates; expected 2"):
        Dropout(rate=[0.1, 0.2, 0.3]).effect(network, (1, 8, 8))


class HeadFirst(nn.Module):
    """A user's network that registers its layers from the last to the first."""

    def __init__(self):
        super().__init__()
        self.head, self.hidden, self.first = nn.Linear(5, 3), nn.Linear(6, 5), nn.Linear(4, 6)

    def forward(self, inputs):
        return self.head(torch.relu(self.hidden(torch.relu(self.first(inputs)))))


def test_hidden_layers_and_their_rates_go_by_the_forward_not_by_registration():
    network = HeadFirst()
    regularizer = Dropout(rate=[0.1, 0.5])
    regularizer.modify_model(network)
    assert {layer.site: layer.rate for layer in noise_layers(network)} == {
        "hidden": 0.1,
        "head": 0.5,
    }
    switch(network, training=True, sampling=True)
    network(torch.rand(500, 4))
    measures = regularizer.audit(AuditInputs(network, [], 0.0, BatchChanges()))
    assert measures["realised_rate_1"] == pytest.approx(0.1, abs=0.05)
    assert measures["realised_rate_2"] == pytest.approx(0.5, abs=0.05)


class Branching(HeadFirst):
    """The same, with a decision that cannot be traced."""

    def forward(self, inputs):
        return super().forward(inputs if inputs.sum() > 0 else -inputs)


def test_where_the_forward_cannot_be_traced_layers_go_as_registered():
    network = Branching()
    Dropout().modify_model(network)
    assert {layer.site for layer in noise_layers(network)} == {"hidden", "first"}
