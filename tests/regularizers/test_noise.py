"""The noise layer: its switch, its generator, where it is placed."""

import copy

import pytest
import torch
from torch import nn

from pipeline.regularizers._noise import (
    NoiseLayer,
    mode,
    noise_layers,
    place_before,
    seed_noise,
    switch,
)


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
