"""Computing the part before any noise once changes no pass, whatever the network does there."""

from functools import partial

import pytest
import torch
from torch import nn

from pipeline import regularizers
from pipeline.prediction.network import as_images, assemble
from pipeline.prediction.prefix import repeated
from pipeline.regularizers._noise import NoiseLayer, noise_layers, seed_noise, switch
from pipeline.regularizers.dropout import Dropout
from pipeline.regularizers.input_noise import InputNoise

NOISY = [
    {"name": "dropout", "rate": 0.5},
    {"name": "dropout", "rate": 0.2, "where": "input"},
    {"name": "spatial_dropout", "rate": 0.2},
    {"name": "dropconnect", "rate": 0.5},
    {"name": "dropconnect", "rate": 0.5, "where": "convolution"},
    {"name": "stochastic_depth", "survival": 0.5},
    {"name": "stochastic_depth", "survival": 0.5, "mode": "example"},
    {"name": "fractional_max_pooling", "ratio": 1.41},
    {"name": "input_noise", "sigma": 0.3},
]


def both(network, images, passes=3):
    """Return the passes with and without the common part computed once."""
    layers = noise_layers(network)
    ready = [partial(seed_noise, layers, 0, number) for number in range(passes)]
    once, plainly = repeated(network, images, ready), []
    with torch.no_grad():
        for prepare in ready:
            prepare()
            plainly.append(network(images))
    return once, torch.stack(plainly)


def replaced(network):
    """Return the modules that compute by another forward than their class's."""
    return [name for name, module in network.named_modules() if "forward" in module.__dict__]


class Counting(nn.Module):
    """Counts its calls, and works in place on what it is given."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        return inputs.add_(1.0)


@pytest.mark.parametrize("item", NOISY, ids=lambda item: "-".join(map(str, item.values())))
def test_every_noise_gives_the_passes_of_plain_calls(item, configure, pool):
    config = configure(item)
    chosen = regularizers.build(config.regularizers)
    network = assemble(config, chosen, pool.shape, pool.classes)
    switch(network, training=False, sampling=True)
    before = replaced(network)
    once, plainly = both(network, as_images(pool.images[:20]))
    assert torch.equal(once, plainly)
    assert not torch.equal(once[0], once[1])
    assert replaced(network) == before


def test_only_what_comes_before_the_noise_is_spared_and_work_in_place_does_no_harm():
    torch.manual_seed(0)
    before, shared, after = Counting(), nn.ReLU(inplace=True), Counting()
    network = nn.Sequential(nn.Linear(4, 4), before, shared, nn.Linear(4, 4), shared, after)
    Dropout(rate=0.5).modify_model(network)
    switch(network, training=False, sampling=True)
    images = torch.rand(6, 4)
    layers = noise_layers(network)
    before.calls = after.calls = 0
    once = repeated(
        network, images.clone(), [partial(seed_noise, layers, 0, number) for number in range(5)]
    )
    assert (before.calls, after.calls) == (
        1,
        6,
    )  # the first pass is made again, to see that it is the same
    seed_noise(layers, 0, 4)
    with torch.no_grad():
        assert torch.equal(once[4], network(images.clone()))


def test_noise_at_the_input_spares_nothing():
    last = Counting()
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), last)
    InputNoise(sigma=0.5).modify_model(network)
    switch(network, training=False, sampling=True)
    last.calls = 0
    both(network, torch.rand(6, 1, 2, 2), passes=4)
    assert last.calls == 8  # nothing was recorded


class Shared(nn.Module):
    """One activation for two noisy blocks."""

    def __init__(self):
        super().__init__()
        relu = nn.ReLU(inplace=True)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), relu, nn.Dropout(0.0), nn.Linear(4, 4)) for _ in range(2)
        )

    def forward(self, inputs):
        for block in self.blocks:
            inputs = inputs + block(inputs)
        return inputs


class Tied(nn.Module):
    """A module inside a quiet one, called itself too, before and after the noise."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.trunk = nn.Sequential(self.inner, nn.Tanh())
        self.head = nn.Linear(4, 4)

    def forward(self, inputs):
        return self.inner(self.head(self.inner(inputs) + self.trunk(inputs)))


class Ignored(nn.Module):
    """Works in place and does not look at what comes back."""

    def __init__(self):
        super().__init__()
        self.first, self.relu, self.head = nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4)

    def forward(self, inputs):
        hidden = self.first(inputs)
        self.relu(hidden)
        return self.head(hidden)


class Sum(nn.Module):
    """Adds a tensor to what is made of it in place."""

    def __init__(self):
        super().__init__()
        self.first, self.relu, self.head = nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4)

    def forward(self, inputs):
        hidden = self.first(inputs)
        return self.head(hidden + self.relu(hidden))


class Pair(nn.Module):
    """Gives a tuple at first and a tensor afterwards."""

    def __init__(self):
        super().__init__()
        self.first, self.head, self.called = Counting(), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, inputs):
        return self.head(self.called.forward(inputs) + self.called(inputs))


@pytest.mark.parametrize("kind", [Shared, Tied, Ignored, Sum, Pair])
def test_a_network_of_any_build_gives_the_passes_of_plain_calls(kind):
    torch.manual_seed(0)
    network = kind()
    Dropout(rate=0.5).modify_model(network)
    switch(network, training=False, sampling=True)
    once, plainly = both(network, torch.randn(6, 4), passes=4)
    assert torch.equal(once, plainly)
    assert not torch.equal(once[0], once[1])


def test_a_hook_of_the_user_acts_once():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    network[0].register_forward_hook(lambda module, arguments, output: output + 1)
    Dropout(rate=0.5).modify_model(network)
    switch(network, training=False, sampling=True)
    once, plainly = both(network, torch.randn(6, 4), passes=4)
    assert torch.equal(once, plainly)


class InPlace(NoiseLayer):
    """Hides values in place, without scaling: the same mask twice is that mask once."""

    def sample(self, inputs):
        return inputs.mul_(torch.rand(inputs.shape, generator=self.generator) < 0.5)


def test_noise_that_works_in_place_finds_what_was_given_before_it():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), InPlace("own", "0"), nn.Linear(4, 4))
    switch(network, training=False, sampling=True)
    once, plainly = both(network, torch.randn(6, 4), passes=4)
    assert torch.equal(once, plainly)
    assert len(once.flatten(1).unique(dim=0)) == 4
