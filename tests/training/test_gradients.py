"""The gradient check: right gradients pass, planted faults of every kind are found."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline import regularizers
from pipeline.models._standardized import Inputs, Standardized
from pipeline.training.gradients import (
    NotReproducible,
    _differences,
    check_gradients,
    descend,
    loss_of,
)

SHAPE, CLASSES = (1, 8, 8), 3


class Wrong(torch.autograd.Function):
    """The identity, whose gradient is a hundredth too large."""

    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    def backward(context, gradient):
        return 1.01 * gradient


class Scaled(nn.Module):
    """A weight of its own behind which a fault may be planted."""

    def __init__(self, fault=None):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.fault = fault
        self.generator = torch.Generator()

    def forward(self, images):
        scaled = images * self.scale
        if self.fault == "wrong":
            scaled = Wrong.apply(scaled)
        elif self.fault == "detached":
            scaled = scaled.detach() * 0.5 + scaled * 0.5
        elif self.fault == "draws":
            scaled = scaled + torch.randn(scaled.shape, generator=self.generator)
        return scaled


def network(fault=None, *chosen):
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        Scaled(fault),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 8),
        nn.ReLU(),
        nn.Linear(8, CLASSES),
    )
    made = Standardized(layers, Inputs(SHAPE))
    regularizers.equip(made, chosen)
    return made.double()


def batch():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(6, *SHAPE, generator=generator, dtype=torch.double)
    labels = torch.randint(CLASSES, (6,), generator=generator)
    return images, functional.one_hot(labels, CLASSES).double()


def worst(made, *chosen):
    """Return parameter -> error, at the start and after some updates the larger one."""
    loss = loss_of(made, chosen, *batch())
    start = check_gradients(made, loss)
    descend(made, loss, 3, 0.1)
    pairs = zip(start, check_gradients(made, loss), strict=True)
    return {one.name.removeprefix("network."): max(one.error, other.error) for one, other in pairs}


@pytest.mark.parametrize(
    "chosen",
    [
        [],
        [{"name": "dropout", "rate": 0.3}],
        [{"name": "dropconnect", "rate": 0.3}],
        [{"name": "mixup", "alpha": 1.0}, {"name": "label_smoothing", "amount": 0.1}],
        [{"name": "augmentation", "shift": 1.0, "rotate": 10}],
    ],
    ids=lambda chosen: "+".join(item["name"] for item in chosen) or "plain",
)
def test_right_gradients_are_good(chosen):
    built = regularizers.build(chosen)
    errors = worst(network(None, *built), *built)
    assert len(errors) == 9
    assert max(errors.values()) <= 1e-7
    assert errors["0.bias"] == 0  # batch norm takes it away again


def test_most_coordinates_take_two_passes():
    """A second step is for those where gradient and difference disagree: of a check, seconds."""
    made = network()
    loss = loss_of(made, [], *batch())
    passes = []

    def counted():
        passes.append(1)
        return loss()

    compared = check_gradients(made, counted)
    coordinates = sum(one.compared + one.kinks for one in compared)
    kinks = sum(one.kinks for one in compared)
    assert coordinates == 9 * 4 - 1  # of the last layer's three biases, all
    assert kinks <= 2
    assert len(passes) <= 2 + 2 * (coordinates + kinks + 2)


def test_a_wrong_backward_is_found_in_all_layers_before_it():
    errors = worst(network("wrong"))
    wrong = {name for name, error in errors.items() if error > 1e-3}
    assert wrong == {"0.weight", "1.weight", "1.bias", "3.scale"}
    assert errors["0.weight"] == pytest.approx(0.01 / 2.01, rel=1e-4)


@pytest.mark.parametrize(("scale", "is_known"), [(1e-2, True), (1e-11, False)])
def test_a_gradient_below_what_differences_resolve_is_not_called_right(scale, is_known):
    """A wrong one in a deep network of small weights has no error that can be measured."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2).double()
    inputs = torch.ones(4, 3, dtype=torch.double)
    (weight, bias) = check_gradients(
        layer, lambda: 1 + scale * Wrong.apply(layer(inputs)).square().sum()
    )
    for compared in (weight, bias):
        assert compared.compared > 0
        assert math.isnan(compared.error) is not is_known
        assert is_known is (compared.error > 1e-3)


def test_half_a_gradient_is_found():
    errors = worst(network("detached"))
    assert errors["3.scale"] == pytest.approx(1 / 3, rel=1e-4)


def test_draws_without_a_seed_raise_not_reproducible():
    made = network("draws")
    with pytest.raises(NotReproducible, match=r"^[\d.]+ and [\d.]+$"):
        check_gradients(made, loss_of(made, [], *batch()))


def test_a_kink_is_left_out_and_not_a_fault():
    """The weight stands exactly where ReLU switches, so both one-sided slopes are right."""
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(layer.weight)
    inputs = torch.ones(1, 1, dtype=torch.double)
    (compared,) = check_gradients(layer, lambda: functional.relu(layer(inputs)).sum())
    assert (compared.compared, compared.kinks) == (0, 1)
    assert math.isnan(compared.error)


def test_parameters_and_global_generators_are_left_as_they_were():
    made = network()
    before = {name: value.clone() for name, value in made.named_parameters()}
    state = torch.default_generator.get_state()
    check_gradients(made, loss_of(made, [], *batch()))
    assert all(torch.equal(before[name], value) for name, value in made.named_parameters())
    assert torch.equal(state, torch.default_generator.get_state())


def cube():
    """Return a weight of 1, and its loss t^3, of slope 3."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.double))
    return weight, lambda: weight.pow(3).sum()


def test_two_sided_differences_err_by_the_square_of_the_step():
    """The lecture's t^3 at 1 with a step of 0.01: 3.0001, and one-sided 3.0301."""
    weight, loss = cube()
    gradient = _differences(weight, 0, loss, 1.0, 0.01)
    assert gradient.slope == pytest.approx(3.0001, abs=1e-10)
    assert gradient.slope + gradient.bend / 2 == pytest.approx(3.0301, abs=1e-10)
    halved = _differences(weight, 0, loss, 1.0, 0.005)
    assert (gradient.slope - 3) / (halved.slope - 3) == pytest.approx(4, rel=1e-6)
    assert weight.item() == 1


@pytest.mark.parametrize("excess", [1e-6, 1e-4, 1e-2, 1.0])
def test_the_error_is_relative_to_both_sizes(excess):
    """|difference - gradient| / (|difference| + |gradient|), of a gradient that is too large."""
    weight, loss = cube()
    holder = nn.Module()
    holder.register_parameter("weight", weight)
    weight.register_hook(lambda gradient: (1 + excess) * gradient)
    (compared,) = check_gradients(holder, loss)
    assert compared.error == pytest.approx(excess / (2 + excess), rel=1e-3)
