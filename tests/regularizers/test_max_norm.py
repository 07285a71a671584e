"""Max-norm against the projection onto a ball, unit by unit."""

import pytest
import torch
from declarations import replaced
from pydantic import ValidationError
from torch import nn

from pipeline.regularizers._audit import AuditInputs, BatchChanges, NoEffect
from pipeline.regularizers.max_norm import MaxNorm, Projection, max_norm, units
from pipeline.runtime.errors import Refusal
from pipeline.training.task import Task
from pipeline.training.trainer import train

STRONG = {"strength": 0.3}
FAULTS = [replaced(Projection, "_project", lambda self, weights: None)]


def evidence(network, projection):
    return AuditInputs(network, [], 0.0, BatchChanges(), [projection])


@pytest.mark.parametrize("shape", [(5, 7), (5, 2, 3, 3)])
def test_every_unit_is_projected_onto_the_ball(shape):
    torch.manual_seed(0)
    weight = torch.randn(*shape, dtype=torch.float64) * torch.linspace(0.1, 2, 5).reshape(
        -1, *[1] * (len(shape) - 1)
    )
    out = max_norm(weight, 1.5)
    fired = 0
    for before, after in zip(weight, out, strict=True):
        norm = float(before.square().sum().sqrt())
        if norm <= 1.5:
            assert torch.equal(after, before)
        else:
            fired += 1
            assert torch.allclose(after, before / norm * 1.5, atol=1e-14)
    assert 0 < fired < 5
    assert torch.allclose(max_norm(out, 1.5), out, atol=1e-14)
    assert torch.allclose(out, torch.renorm(weight, 2, 0, 1.5), atol=1e-6)


def test_it_is_the_nearest_point_of_the_ball():
    torch.manual_seed(1)
    weight = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    distance = float((max_norm(weight, 1.0) - weight).norm())
    angles = torch.rand(2000, dtype=torch.float64) * 2 * torch.pi
    inside = torch.stack([angles.cos(), angles.sin()], 1) * torch.rand(2000, 1, dtype=torch.float64)
    assert distance == pytest.approx(4.0)
    assert distance <= float((inside - weight).norm(dim=1).min())


def test_a_unit_of_zeros_and_the_limit_itself_stay():
    weight = torch.tensor([[0.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    assert torch.allclose(max_norm(weight, 1.0), weight, atol=1e-15)


def test_gradient():
    weight = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: max_norm(given, 1.0), weight)


def test_units_are_rows_and_filters_and_biases_stay():
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 4))
    assert [tuple(weight.shape) for weight in units(network)] == [(3, 2, 3, 3), (4, 3)]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(5.0)
    projection = Projection(1.0)
    projection._project(units(network))
    norms = [weight.detach().flatten(1).norm(dim=1) for weight in units(network)]
    assert torch.allclose(torch.cat(norms), torch.ones(7), atol=1e-6)
    assert all((network[number].bias == 5).all() for number in (0, 1, 3))
    assert (network[1].weight == 5).all()
    measures = MaxNorm(strength=1.0).audit(evidence(network, projection))
    assert measures == {"units": 7, "armed": 7, "fired": 1.0}


def test_a_run_keeps_every_norm_within_the_limit_after_every_update(configure, pool, monkeypatch):
    longest = []
    project = Projection._project

    def watched(self, weights):
        project(self, weights)
        longest.append(
            max(float(weight.detach().flatten(1).norm(dim=1).max()) for weight in weights)
        )

    monkeypatch.setattr(Projection, "_project", watched)
    trained = train(configure({"name": "max_norm", "strength": 0.6}), pool)
    assert len(longest) == 6
    assert max(longest) <= 0.6 + 1e-6
    measures = trained.audit["max_norm"]
    assert 0 < measures["fired"] < 1
    assert measures["armed"] == 6 * measures["units"]
    kernels = [
        value for value in trained.weights.values() if value.dim() in (2, 4) and value.numel() > 8
    ]
    assert max(float(value.flatten(1).norm(dim=1).max()) for value in kernels) <= 0.6 + 1e-6


def test_it_projects_after_the_step_not_before_it(configure, pool, monkeypatch):
    """Every step at a constant rate would carry some unit out again."""
    longest, ended = [], Task.on_train_batch_end

    def watched(self, *arguments):
        longest.append(
            max(
                float(weight.detach().flatten(1).norm(dim=1).max())
                for weight in units(self.network)
            )
        )
        ended(self, *arguments)

    monkeypatch.setattr(Task, "on_train_batch_end", watched)
    rates = {"schedule": {"name": "constant"}, "learning_rate": 0.1}
    train(configure({"name": "max_norm", "strength": 0.5}, **rates), pool)
    assert len(longest) == 6
    assert max(longest) <= 0.5 + 1e-6


def test_it_may_rightly_never_fire(configure, pool):
    measures = train(configure({"name": "max_norm", "strength": 100.0}), pool).audit["max_norm"]
    assert measures["fired"] == 0
    assert measures["armed"] == 6 * measures["units"] > 0


def test_a_projection_that_is_never_made_is_caught():
    with pytest.raises(NoEffect, match="no projection was made at strength 3"):
        MaxNorm().audit(evidence(nn.Linear(2, 2), Projection(3.0)))


def test_a_projection_that_returns_its_input_is_caught(configure, pool, monkeypatch):
    monkeypatch.setattr(Projection, "_project", lambda self, weights: setattr(self, "armed", 1))
    with pytest.raises(NoEffect, match=r"the weights of a unit have norm .*; expected <= 0.3"):
        train(configure({"name": "max_norm", "strength": 0.3}), pool)


def test_counts_are_restored_from_a_state():
    one, other = Projection(0.1), Projection(0.1)
    one._project([torch.ones(2, 3)])
    other.load_state_dict(one.state_dict())
    assert (other.armed, other.fired) == (2, 2)


def test_a_network_without_units_raises():
    with pytest.raises(Refusal, match="max_norm: the network has no linear layer or convolution"):
        MaxNorm().modify_model(nn.Sequential(nn.Flatten()))


@pytest.mark.parametrize("strength", [0, -1, float("inf"), "3", None])
def test_bad_settings(strength):
    with pytest.raises(ValidationError):
        MaxNorm(strength=strength)
    assert MaxNorm.neutral() is None
