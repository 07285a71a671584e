"""The noise layer: its switch, its generator, where it is placed."""

import copy

import pytest
import torch
from torch import nn

from pipeline import regularizers
from pipeline.models._standardized import Inputs, Standardized
from pipeline.regularizers._noise import (
    NoiseLayer,
    mode,
    noise_layers,
    place_before,
    seed_noise,
    switch,
)
from pipeline.regularizers.dropconnect import DropConnect


class Adding(NoiseLayer):
    """Adds uniform noise."""

    def sample(self, inputs):
        return inputs + torch.rand(inputs.shape, generator=self.generator)


@pytest.fixture
def network():
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    for site in ("0", "2"):
        place_before(network.get_submodule(site), Adding("adding", site))
    return network


INPUTS = torch.rand(5, 3)


def test_placed_without_touching_names_or_weights(network):
    plain = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    assert set(network.state_dict()) == set(plain.state_dict())
    assert [layer.site for layer in noise_layers(network)] == ["0", "2"]
    plain.load_state_dict(network.state_dict())
    with mode(network, training=False, sampling=False), mode(plain, training=False, sampling=False):
        assert torch.equal(network(INPUTS), plain(INPUTS))


def test_the_switch_is_independent_of_train(network):
    """Batch norm moves only in training mode, noise only while sampling: all four combinations."""
    for training in (True, False):
        for sampling in (True, False):
            switch(network, training, sampling)
            before = network[1].running_mean.clone()
            outputs = [network[0](INPUTS) for _ in range(2)]
            network[1](outputs[0])
            assert torch.equal(outputs[0], outputs[1]) is not sampling
            assert torch.equal(before, network[1].running_mean) is not training


def test_mode_puts_everything_back_even_after_an_error(network):
    switch(network, training=True, sampling=True)
    with pytest.raises(ZeroDivisionError), mode(network, training=False, sampling=False):
        assert not network.training
        raise ZeroDivisionError
    assert network.training
    assert all(layer.sampling for layer in noise_layers(network))


def test_noise_is_seeded_per_site_and_name_and_is_its_own(network):
    switch(network, training=False, sampling=True)

    def drawn(seed, *names):
        seed_noise(noise_layers(network), seed, *names)
        return [layer.sample(torch.zeros(4)) for layer in noise_layers(network)]

    one, again, epoch, seed = drawn(0, 1), drawn(0, 1), drawn(0, 2), drawn(1, 1)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one[0], epoch[0])
    assert not torch.equal(one[0], seed[0])
    before = torch.random.get_rng_state()
    drawn(0, 1)
    network(INPUTS)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_copy_of_a_network_has_noise_of_its_own(network):
    copied = copy.deepcopy(network)
    switch(copied, training=False, sampling=True)
    assert not torch.equal(copied(INPUTS), copied(INPUTS))
    switch(network, training=False, sampling=False)
    assert torch.equal(network(INPUTS), network(INPUTS))


class Named(nn.Module):
    """Calls its layers by the names of their arguments."""

    def __init__(self):
        super().__init__()
        self.first, self.pool = nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2)
        self.middle, self.last = nn.Linear(64, 16), Shifted(16, 10)

    def forward(self, images):
        maps = self.pool(input=torch.relu(self.first(input=images)))
        hidden = torch.relu(self.middle(input=maps.flatten(1)))
        return self.last(shift=1, units=hidden)


class Shifted(nn.Linear):
    def forward(self, units, shift):
        return super().forward(units) + shift


@pytest.mark.parametrize(
    "item",
    [
        {"name": "dropout"},
        {"name": "dropout", "where": "input"},
        {"name": "spatial_dropout"},
        {"name": "input_noise"},
        {"name": "dropconnect", "where": "convolution"},
        {"name": "fractional_max_pooling", "output_sizes": [5]},
        {"name": "fractional_max_pooling", "output_sizes": [5], "regions": "fixed"},
    ],
    ids=str,
)
def test_layers_may_be_called_by_the_names_of_their_arguments(item):
    torch.manual_seed(0)
    network = Standardized(Named(), Inputs((1, 8, 8)))
    sizes = 100 if item["name"] == "fractional_max_pooling" else 64
    network.network.middle = nn.Linear(sizes, 16)
    plain = copy.deepcopy(network)
    (regularizer,) = regularizers.build([item])
    regularizer.modify_model(network)
    images = torch.rand(3, 1, 8, 8)
    with mode(network, training=True, sampling=True):
        assert network(images).shape == (3, 10)
    assert all(layer.counts["passes"] == 1 for layer in noise_layers(network))
    if item["name"] != "fractional_max_pooling":
        assert torch.equal(network(images), plain(images))


def test_dropconnect_takes_inputs_by_name():
    network = nn.ModuleDict({"only": nn.Linear(4, 3)})
    DropConnect(rate=0.5).modify_model(network)
    inputs = torch.ones(2, 4)
    with mode(network, training=True, sampling=True):
        assert not torch.equal(network["only"](input=inputs), network["only"](input=inputs))
    assert network["only"](input=inputs).shape == (2, 3)
