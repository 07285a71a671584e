"""Weight decay against the gradient of its penalty and the closed form of ridge regression."""

import pytest
import torch
from torch import nn

from pipeline import models
from pipeline.optimizers.adam import Adam
from pipeline.optimizers.adamw import AdamW
from pipeline.optimizers.sgd import Sgd
from pipeline.regularizers._audit import AuditInputs, BatchChanges, NoEffect
from pipeline.regularizers._callback import TrainingCallback
from pipeline.regularizers.weight_decay import DecoupledDecay, WeightDecay, half_squared_norm

STRONG = {"strength": 0.05}
VARIANTS = [{"strength": 0.05, "decoupled": True}]


def nothing_is_decayed(monkeypatch):
    monkeypatch.setattr(WeightDecay, "modify_optimizer", lambda self, groups: groups)
    monkeypatch.setattr(DecoupledDecay, "on_before_optimizer_step", lambda self, *_: None)


FAULTS = [nothing_is_decayed]


STRENGTH = 0.1


def groups(network):
    chosen = [parameter for name, parameter in network.named_parameters() if "bias" not in name]
    rest = [parameter for name, parameter in network.named_parameters() if "bias" in name]
    return [{"params": chosen, "weight_decay": 0.0}, {"params": rest, "weight_decay": 0.0}]


def test_decay_is_the_gradient_of_the_penalty():
    torch.manual_seed(0)
    one, other = (nn.Linear(4, 3).double() for _ in range(2))
    other.load_state_dict(one.state_dict())
    inputs = torch.randn(5, 4, dtype=torch.float64)
    decayed = torch.optim.SGD(WeightDecay(strength=STRENGTH).modify_optimizer(groups(one)), lr=0.1)
    plain = torch.optim.SGD(groups(other), lr=0.1)
    for _ in range(3):
        decayed.zero_grad()
        one(inputs).square().sum().backward()
        decayed.step()
        plain.zero_grad()
        (other(inputs).square().sum() + STRENGTH * half_squared_norm([other.weight])).backward()
        plain.step()
    assert torch.allclose(one.weight, other.weight, atol=1e-14)
    assert torch.allclose(one.bias, other.bias, atol=1e-14)


def test_a_linear_net_converges_to_ridge():
    torch.manual_seed(1)
    inputs, targets = (
        torch.randn(20, 3, dtype=torch.float64),
        torch.randn(20, 1, dtype=torch.float64),
    )
    layer = nn.Linear(3, 1, bias=False).double()
    optimizer = torch.optim.SGD(
        WeightDecay(strength=STRENGTH).modify_optimizer(
            [{"params": [layer.weight], "weight_decay": 0.0}]
        ),
        lr=0.02,
    )
    for _ in range(3000):
        optimizer.zero_grad()
        ((layer(inputs) - targets).square().sum() / 2).backward()
        optimizer.step()
    ridge = torch.linalg.solve(
        inputs.T @ inputs + STRENGTH * torch.eye(3, dtype=torch.float64), inputs.T @ targets
    )
    assert torch.allclose(layer.weight, ridge.T, atol=1e-10)


class Stepping:
    """What a callback sees of a run: a network and its optimizer, which takes steps."""

    def __init__(self, settings, callback, decay=0.0):
        torch.manual_seed(0)
        self.network = nn.Linear(4, 3).double()
        self.inputs = torch.randn(5, 4, dtype=torch.float64)
        first, rest = groups(self.network)
        self.optimizers = [settings.build([{**first, "weight_decay": decay}, rest], 0.1)]
        self.callback = callback
        callback.on_train_start(self, self)

    def step(self):
        self.network.zero_grad()
        self.network(self.inputs).square().sum().backward()
        self.callback.on_before_optimizer_step(self, self)
        self.optimizers[0].step()


def test_decoupled_decay_of_adam_is_adamw():
    decayed = Stepping(Adam(), DecoupledDecay(STRENGTH))
    other = Stepping(AdamW(), TrainingCallback(), decay=STRENGTH)
    for _ in range(5):
        decayed.step()
        other.step()
    for one, expected in zip(decayed.network.parameters(), other.network.parameters(), strict=True):
        assert torch.allclose(one, expected, rtol=0, atol=1e-12)
    assert decayed.callback.left == pytest.approx((1 - 0.1 * STRENGTH) ** 5)


def test_decoupled_decay_shrinks_the_weights_before_a_step_along_their_gradient():
    """X <- (1 - rate * strength) x - rate * g(x) for plain descent, and biases are left alone."""
    run = Stepping(Sgd(momentum=0), DecoupledDecay(STRENGTH))
    layer, before = run.network, [value.detach().clone() for value in run.network.parameters()]
    run.step()
    assert torch.allclose(layer.weight, 0.99 * before[0] - 0.1 * layer.weight.grad, atol=1e-14)
    assert torch.allclose(layer.bias, before[1] - 0.1 * layer.bias.grad, atol=1e-14)


def test_only_the_first_group_is_decayed():
    given = groups(nn.Linear(2, 2))
    changed = WeightDecay(strength=STRENGTH).modify_optimizer(given)
    assert [group["weight_decay"] for group in changed] == [STRENGTH, 0.0]
    assert [group["weight_decay"] for group in given] == [0.0, 0.0]


def test_gradient_and_value():
    parameter = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: half_squared_norm([value]), parameter)
    assert half_squared_norm([nn.Parameter(torch.tensor([3.0, 4.0]))]) == 12.5


def test_audit():
    network = models.build(
        {"name": "resnet", "widths": (4,), "blocks": 1, "hidden": 4, "grid": 1}, (1, 8, 8), 10
    )
    regularizer = WeightDecay(strength=STRENGTH)
    decayed = regularizer.modify_optimizer(groups(network))
    measures = regularizer.audit(AuditInputs(network, decayed, 0.5, BatchChanges()))
    assert 0 < measures["share_of_loss"] < 1
    with pytest.raises(NoEffect, match="no weight is decayed"):
        regularizer.audit(AuditInputs(network, groups(network), 0.5, BatchChanges()))
