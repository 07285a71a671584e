"""Input noise against its moments and the penalty it stands for."""

import pytest
import torch
from declarations import weakened
from pydantic import ValidationError
from torch import nn

from pipeline import models
from pipeline.regularizers import input_noise as module
from pipeline.regularizers._audit import AuditInputs, BatchChanges, NoEffect
from pipeline.regularizers._noise import noise_layers, seed_noise, switch
from pipeline.regularizers.input_noise import InputNoise, InputNoiseLayer, input_noise

FAULTS = weakened("sigma")


SIGMA = 0.3


def test_moments_and_a_draw_of_its_own_for_every_value():
    layer = InputNoiseLayer("x", SIGMA)
    layer.sampling = True
    inputs = torch.rand(1, 4).expand(50_000, 4)
    noise = layer(inputs) - inputs
    assert abs(float(noise.mean())) < 4.5 * SIGMA / 200_000**0.5
    assert abs(float(noise.std()) - SIGMA) < 4.5 * SIGMA / 400_000**0.5
    assert abs(float((noise[:, 0] * noise[:, 1]).mean())) < 4.5 * SIGMA**2 / 50_000**0.5
    assert len(noise[:, 0].unique()) > 45_000
    layer.sampling = False
    assert layer(inputs) is inputs


def test_it_is_a_penalty_on_the_squared_gradient():
    """Bishop 1995: a linear output's expected squared error grows by exactly sigma^2 |w|^2.

    Two draws +-1 average so.
    """
    torch.manual_seed(0)
    weights, inputs, target = (
        torch.randn(3).double(),
        torch.randn(3).double(),
        torch.tensor(0.7).double(),
    )
    error = sum(
        (input_noise(inputs, sign * 3**0.5 * torch.eye(3).double()[axis], SIGMA) @ weights - target)
        ** 2
        / 6
        for axis in range(3)
        for sign in (1, -1)
    )
    assert torch.allclose(
        error, (inputs @ weights - target) ** 2 + SIGMA**2 * weights.square().sum()
    )


@pytest.mark.parametrize("name", ["resnet", "mlp", "cnn"])
def test_it_acts_once_on_the_standardized_input(name):
    network = models.build({"name": name, **models.settings()[name]().model_dump()}, (1, 8, 8), 10)
    network.deviation *= 0.1
    before = list(network.state_dict())
    regularizer = InputNoise(sigma=SIGMA)
    regularizer.modify_model(network)
    assert list(network.state_dict()) == before
    (layer,) = noise_layers(network)
    seen = []
    layer.register_forward_hook(
        lambda owner, arguments, output: seen.append((arguments[0], output))
    )
    switch(network, training=True, sampling=True)
    seed_noise([layer], 0, 0)
    network(torch.full((100, 1, 8, 8), 0.5))
    ((read, given),) = seen
    assert torch.allclose(read, torch.tensor(5.0))
    assert abs(float((given - read).std()) - SIGMA) < 0.02
    measures = regularizer.audit(AuditInputs(network, [], 0.0, BatchChanges()))
    assert measures["values"] == 6400
    assert abs(measures["realised_sigma"] - SIGMA) < 4.5 * SIGMA / 12_800**0.5


def test_gradient():
    noise = torch.randn(3, 4, dtype=torch.float64)
    inputs = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: input_noise(values, noise, SIGMA), inputs)


def test_bad_settings():
    assert InputNoise(sigma=1).sigma == 1
    with pytest.raises(ValidationError):
        InputNoise(sigma=-0.1)


def test_the_audit_catches_an_input_returned_and_a_sigma_never_applied(monkeypatch):
    regularizer = InputNoise(sigma=SIGMA)

    def evidence(sigma=SIGMA):
        network = nn.Sequential(nn.Linear(4, 2))
        regularizer.modify_model(network)
        noise_layers(network)[0].sigma = sigma
        switch(network, training=True, sampling=True)
        network(torch.rand(10, 4))
        return AuditInputs(network, [], 0.0, BatchChanges())

    assert regularizer.audit(evidence())["realised_sigma"] > 0
    with pytest.raises(NoEffect, match="none of 40 values was changed at sigma 0.3"):
        regularizer.audit(evidence(sigma=0.0))
    monkeypatch.setattr(module, "input_noise", lambda inputs, noise, sigma: inputs)
    with pytest.raises(NoEffect, match="none of 40 values was changed"):
        regularizer.audit(evidence())
    monkeypatch.undo()
    assert regularizer.audit(evidence(sigma=SIGMA))
    with pytest.raises(NoEffect, match="the deviation of 40 values is 0.0.*; expected 0.3"):
        regularizer.audit(evidence(sigma=SIGMA / 10))
    with pytest.raises(NoEffect, match="expected 0.3"):
        regularizer.audit(evidence(sigma=SIGMA * 3))


@pytest.mark.parametrize("sigma", [1e-4, 0.01, 3.0])
def test_the_deviation_measured_is_precise_at_any_strength(sigma):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    regularizer = InputNoise(sigma=sigma)
    regularizer.modify_model(network)
    switch(network, training=True, sampling=True)
    for _ in range(200):
        network(torch.randn(50, 1, 8, 8))
    assert regularizer.audit(AuditInputs(network, [], 0.0, BatchChanges()))[
        "realised_sigma"
    ] == pytest.approx(sigma, rel=0.01)
