"""Label smoothing against its closed form, and its commuting with mixup."""

import math

import pytest
import torch
from batches import audit_inputs
from declarations import unchanged_batches
from pydantic import ValidationError
from torch.nn import functional

from pipeline.regularizers._audit import NoEffect
from pipeline.regularizers.label_smoothing import LabelSmoothing, smoothed
from pipeline.regularizers.mixup import mixed

PER_IMAGE = False
FAULTS = [unchanged_batches(LabelSmoothing)]


TARGETS = torch.eye(4, dtype=torch.float64)


def test_targets_stay_distributions_with_known_entries():
    soft = smoothed(TARGETS, 0.2)
    assert torch.allclose(soft.sum(1), torch.ones(4, dtype=torch.float64), atol=1e-15)
    assert torch.allclose(
        soft.diagonal(), torch.full((4,), 0.8 + 0.05, dtype=torch.float64), atol=1e-15
    )
    assert float(soft[0, 1]) == pytest.approx(0.05, abs=1e-15)
    assert torch.equal(smoothed(TARGETS, 0), TARGETS)


@pytest.mark.parametrize("amount", [0.05, 0.3])
def test_the_loss_is_that_of_torch(amount):
    logits, labels = torch.randn(4, 4, dtype=torch.float64), torch.arange(4)
    loss = functional.cross_entropy(logits, smoothed(TARGETS, amount))
    assert torch.allclose(
        loss, functional.cross_entropy(logits, labels, label_smoothing=amount), atol=1e-14
    )


def test_the_best_logits_are_finite():
    """The minimum has the softmax equal to the target: a logit gap of log(K (1 - a) / a + 1)."""
    amount = 0.1
    gap = math.log(4 * (1 - amount) / amount + 1)
    logits = torch.tensor([[gap, 0, 0, 0]], dtype=torch.float64, requires_grad=True)
    functional.cross_entropy(logits, smoothed(TARGETS[:1], amount)).backward()
    assert logits.grad.abs().max() < 1e-15


def test_it_commutes_with_mixup():
    targets = torch.softmax(torch.randn(6, 4, dtype=torch.float64), 1)
    partners = torch.randperm(6)
    one = smoothed(mixed(targets, partners, 0.7), 0.2)
    assert torch.allclose(one, mixed(smoothed(targets, 0.2), partners, 0.7), atol=1e-15)
    assert not torch.allclose(one, targets, atol=0.01)


def test_inputs_stay_and_nothing_is_drawn():
    inputs, generator = torch.rand(4, 1, 2, 2), torch.Generator()
    before = generator.get_state()
    kept, soft = LabelSmoothing(amount=0.2).modify_batch(inputs, TARGETS, generator)
    assert kept is inputs
    assert torch.equal(soft, smoothed(TARGETS, 0.2))
    assert torch.equal(before, generator.get_state())


def test_gradient():
    targets = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: smoothed(values, 0.3), targets)


@pytest.mark.parametrize("amount", [-0.1, 1, 1.5, "0.1", float("nan"), None])
def test_bad_amounts(amount):
    with pytest.raises(ValidationError):
        LabelSmoothing(amount=amount)


def test_the_audit_counts_targets_and_catches_untouched_ones():
    assert LabelSmoothing().audit(audit_inputs(examples=10, changed=10)) == {"changed": 1.0}
    with pytest.raises(NoEffect, match="none of 10 targets was changed by amount 0.1"):
        LabelSmoothing().audit(audit_inputs(examples=10))
