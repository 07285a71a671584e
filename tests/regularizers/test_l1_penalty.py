"""The L1 penalty against its closed form on an orthonormal design, with and without momentum."""

import pytest
import torch
from declarations import replaced
from pydantic import ValidationError
from torch import nn

from pipeline.config.run import Data
from pipeline.data.loader import Batches
from pipeline.data.splits import train_and_validation
from pipeline.models._sites import weights
from pipeline.optimizers.sgd import Sgd
from pipeline.prediction.network import as_images, assemble
from pipeline.regularizers._audit import AuditInputs, BatchChanges, NoEffect
from pipeline.regularizers.l1_penalty import L1Penalty, ProximalStep, soft_threshold
from pipeline.runtime.errors import Refusal
from pipeline.training.trainer import train

FAULTS = [replaced(ProximalStep, "_shrink", lambda self, thresholds: None)]


STRENGTH = 0.3
ITEM = {"name": "l1_penalty", "strength": 0.01}


def test_it_is_the_proximal_step():
    """The minimum of (x - value)^2 / 2 + threshold |x|, by brute force over a grid that holds 0."""
    grid = torch.arange(-3000, 3001, dtype=torch.float64) / 1000
    values = torch.tensor([-2.0, -0.31, -0.3, -0.1, 0.0, 0.25, 0.3, 0.7, 1.5], dtype=torch.float64)
    best = [
        float(grid[((grid - value) ** 2 / 2 + STRENGTH * grid.abs()).argmin()]) for value in values
    ]
    assert soft_threshold(values, STRENGTH).tolist() == pytest.approx(best, abs=1e-3)
    assert torch.equal(soft_threshold(values, 0), values)
    assert (soft_threshold(values, STRENGTH) == 0).tolist() == [
        abs(float(value)) <= STRENGTH for value in values
    ]


def trained(momentum, proximal):
    """Return weights after long training on an orthonormal design, and the exact solution."""
    torch.manual_seed(0)
    design = torch.linalg.qr(torch.randn(12, 6, dtype=torch.float64))[0]
    target = design @ torch.tensor([1.0, -0.8, 0.2, -0.1, 0.5, 0.05], dtype=torch.float64) + 0.01
    weight = nn.Parameter(torch.randn(6, dtype=torch.float64))
    settings = Sgd(momentum=momentum)
    optimizer = settings.build([{"params": [weight]}], 0.02)
    step = ProximalStep(STRENGTH)
    for _ in range(3000):
        optimizer.zero_grad()
        loss = (design @ weight - target).square().sum() / 2
        (loss if proximal else loss + STRENGTH * weight.abs().sum()).backward()
        optimizer.step()
        if proximal:
            step._shrink({weight: settings.step_length(0.02) * STRENGTH})
    return weight.detach(), design.T @ target


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_least_squares_on_an_orthonormal_design_is_soft_thresholded(momentum):
    weight, least_squares = trained(momentum, proximal=True)
    expected = soft_threshold(least_squares, STRENGTH)
    assert torch.allclose(weight, expected, atol=1e-8)
    assert torch.equal(weight == 0, expected == 0)
    assert int((weight == 0).sum()) == 3


def test_a_subgradient_gives_no_exact_zero():
    weight, _ = trained(0.0, proximal=False)
    assert int((weight == 0).sum()) == 0


def test_gradient_away_from_the_kinks():
    values = torch.tensor([-1.0, -0.1, 0.1, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: soft_threshold(given, STRENGTH), values)


def test_a_run_is_a_bare_loop_with_a_step_of_its_own_learning_rate(configure, pool):
    """The rate has to be that of the step just taken: the schedule moves before the batch ends."""
    config = configure(ITEM)
    fit, _ = train_and_validation(pool, Data(dataset="digits", train_size=30), 0)
    network = assemble(config, (), pool.shape, pool.classes)
    images, targets = (
        as_images(fit.images),
        nn.functional.one_hot(torch.from_numpy(fit.labels), 10).float(),
    )
    network.fit(images)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.05, momentum=0.9, nesterov=True, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.05, total_steps=6, cycle_momentum=False
    )
    batches = Batches(images, targets, 10, 0)
    network.train()
    for epoch in range(2):
        batches.epoch = epoch
        for inputs, labels in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs), labels).backward()
            optimizer.step()
            rate = schedule.get_last_lr()[0]
            with torch.no_grad():
                for weight in weights(network):
                    threshold = rate / 0.1 * 0.01
                    weight.copy_(weight.sign() * (weight.abs() - threshold).clamp(min=0))
            schedule.step()
    one, other = train(config, pool), dict(network.state_dict())
    assert all(torch.allclose(one.weights[name], other[name], atol=1e-6) for name in other)
    zeros = sum(int((one.weights[name] == 0).sum()) for name, _ in network.named_parameters())
    total = sum(weight.numel() for weight in weights(network))
    assert one.audit["l1_penalty"]["zeros"] == zeros / total > 0.05
    assert 0 < one.audit["l1_penalty"]["share_of_loss"] < 1


def test_biases_and_normalization_are_left_alone():
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    with torch.no_grad():
        network[0].bias.fill_(1e-9)
        network[1].weight.fill_(1e-9)
    ProximalStep(1.0)._shrink(dict.fromkeys(weights(network), 10.0))
    assert (network[0].weight == 0).all()
    assert (network[0].bias == 1e-9).all()
    assert (network[1].weight == 1e-9).all()


def test_a_threshold_that_is_never_applied_is_caught(configure, pool, monkeypatch):
    monkeypatch.setattr(
        "pipeline.regularizers.l1_penalty.soft_threshold", lambda values, threshold: values
    )
    with pytest.raises(NoEffect, match="l1_penalty: 6 updates shrank no weight at strength 0.01"):
        train(configure(ITEM), pool)


def test_a_step_that_is_never_taken_is_caught():
    evidence = AuditInputs(nn.Linear(2, 2), [], 0.0, BatchChanges(), [ProximalStep(0.1)])
    with pytest.raises(NoEffect, match="0 updates"):
        L1Penalty(strength=0.1).audit(evidence)


def test_a_network_without_weights_raises():
    with pytest.raises(Refusal, match="l1_penalty: the network has no weight other than biases"):
        L1Penalty().modify_model(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4)))


@pytest.mark.parametrize("strength", [-0.1, "0.1", float("inf"), None])
def test_bad_settings(strength):
    with pytest.raises(ValidationError):
        L1Penalty(strength=strength)
