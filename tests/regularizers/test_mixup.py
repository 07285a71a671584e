"""Mixup against its definition, the moments of its weights and its limits."""

import pytest
import torch
from batches import audit_inputs, generator
from declarations import unchanged_batches
from pydantic import ValidationError
from scipy import stats

from pipeline.regularizers._audit import NoEffect
from pipeline.regularizers.mixup import Mixup, draw_share, mixed
from pipeline.training.trainer import train

PER_IMAGE = False
FAULTS = [unchanged_batches(Mixup)]


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.rand(6, 2, 4, 4), torch.eye(6)


def test_every_example_is_the_weighted_mean_of_itself_and_its_partner(batch):
    inputs, _ = batch
    partners = torch.tensor([1, 2, 0, 3, 5, 4])
    out = mixed(inputs, partners, 0.7)
    for number, partner in enumerate(partners):
        assert torch.allclose(out[number], 0.7 * inputs[number] + 0.3 * inputs[partner], atol=1e-6)
    assert torch.equal(mixed(inputs, partners, 1.0), inputs)


def test_inputs_and_targets_are_mixed_alike(batch):
    """Targets are rows of the unit matrix, so that they tell weight and partner of each image."""
    inputs, targets = Mixup(alpha=1).modify_batch(*batch, generator(3))
    assert torch.allclose(targets.sum(1), torch.ones(6), atol=1e-6)
    assert torch.allclose(
        targets.sum(0), torch.ones(6), atol=1e-6
    )  # a permutation: each is partner once
    assert torch.allclose(inputs.flatten(1), targets @ batch[0].flatten(1), atol=1e-6)
    weights = targets[(targets > 0) & (targets < 1)]
    assert len(weights) > 0
    assert (targets.diagonal() >= 0.5).all()


@pytest.mark.parametrize("alpha", [0.001, 0.2, 1.0, 4.0])
def test_moments_of_the_weight(alpha):
    """Mean 1/2, variance 1 / (4 (2 alpha + 1))."""
    draws = generator(1)
    drawn = torch.tensor([draw_share(alpha, draws) for _ in range(3000)], dtype=torch.float64)
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(float(drawn.mean()) - 0.5) < 4 * (variance / 3000) ** 0.5
    assert float(drawn.var()) == pytest.approx(variance, rel=0.1)
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_alpha_towards_zero_is_identity(batch):
    for alpha in (0, 1e-5):
        inputs, targets = Mixup(alpha=alpha).modify_batch(*batch, generator(2))
        assert torch.allclose(inputs, batch[0], atol=1e-5)
        assert torch.allclose(targets, batch[1], atol=1e-5)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.5])
def test_the_weight_has_the_beta_distribution(alpha):
    draws = generator(4)
    drawn = [draw_share(alpha, draws) for _ in range(1000)]
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_the_greater_weight_for_oneself_is_the_same_batch(batch):
    """Exchanged weights give the same pairs of image and target, by the inverse permutation."""
    inputs, _ = batch
    partners = torch.tensor([1, 2, 0, 4, 5, 3])
    lesser, greater = mixed(inputs, partners, 0.2), mixed(inputs, partners.argsort(), 0.8)
    assert torch.allclose(lesser, greater[partners], atol=1e-6)
    assert not torch.allclose(lesser, greater, atol=1e-2)


def test_linear_in_the_targets():
    one, other = torch.rand(5, 3, dtype=torch.float64), torch.rand(5, 3, dtype=torch.float64)
    partners = torch.randperm(5)
    together = mixed(2 * one + 3 * other, partners, 0.6)
    assert torch.allclose(
        together, 2 * mixed(one, partners, 0.6) + 3 * mixed(other, partners, 0.6), atol=1e-14
    )


def test_the_generator_decides(batch):
    regularizer, draws = Mixup(alpha=1), generator(2)
    one = regularizer.modify_batch(*batch, draws)
    again = regularizer.modify_batch(*batch, draws)
    other = regularizer.modify_batch(*batch, generator(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[0], again[0])


def test_gradient():
    inputs = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda values: mixed(values, torch.tensor([2, 0, 1]), 0.3), inputs
    )


@pytest.mark.parametrize("alpha", [-1, "1", float("inf"), None])
def test_bad_settings(alpha):
    with pytest.raises(ValidationError):
        Mixup(alpha=alpha)


def test_a_run_counts_its_batches_and_what_changed(configure, pool):
    trained = train(configure({"name": "mixup", "alpha": 1.0}), pool)
    assert 0.5 < trained.audit["mixup"]["changed"] <= 1
    assert 0 < trained.audit["mixup"]["pixel_change"] < 0.5


def test_the_audit_knows_the_number_of_batches(configure, pool, monkeypatch):
    """On it depends how likely it is that every weight rounds to 1."""
    seen = []
    monkeypatch.setattr(Mixup, "audit", lambda self, inputs: seen.append(inputs) or {"x": 1.0})
    train(configure({"name": "mixup"}), pool)
    assert (seen[0].changes.batches, seen[0].changes.examples) == (6, 60)


def test_a_mixup_that_returns_its_input_is_caught(configure, pool, monkeypatch):
    unchanged_batches(Mixup)(monkeypatch)
    with pytest.raises(NoEffect, match="none of 60 examples was changed at alpha 0.2"):
        train(configure({"name": "mixup", "alpha": 0.2}), pool)


def test_a_weight_that_rightly_rounds_to_one_is_excused():
    assert Mixup(alpha=0.001).audit(audit_inputs(batches=6, examples=60)) == {
        "changed": 0,
        "pixel_change": 0,
    }
    with pytest.raises(NoEffect):
        Mixup(alpha=0.001).audit(audit_inputs(batches=2000, examples=20000))
