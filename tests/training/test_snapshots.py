"""Snapshots and their cyclic schedule against the formulas of Huang et al. (2017)."""

import math

import pytest
import torch

from pipeline.data import sources as data
from pipeline.training.snapshots import cyclic_cosine, ends
from pipeline.training.task import Task
from pipeline.training.trainer import train


@pytest.mark.parametrize(("updates", "cycles"), [(200, 5), (180, 4), (40, 1)])
def test_the_paper_s_formula_where_the_length_divides(updates, cycles):
    """alpha(t) = alpha_0 / 2 (cos(pi mod(t - 1, ceil(T / M)) / ceil(T / M)) + 1), t from 1."""
    length = math.ceil(updates / cycles)
    for update in range(1, updates + 1):
        expected = (math.cos(math.pi * ((update - 1) % length) / length) + 1) / 2
        assert cyclic_cosine(update - 1, updates, cycles) == pytest.approx(expected, abs=1e-12)


def test_closed_forms_of_a_cycle():
    rates = [cyclic_cosine(update, 200, 5) for update in range(200)]
    assert rates[::40] == [1.0] * 5
    assert 0.2 * rates[39] == pytest.approx(3.08e-4, rel=1e-2)  # (alpha_0 / 2) (1 - cos(pi / 40))
    assert rates[20] == pytest.approx(0.5)
    assert sum(rates[:40]) / 40 == pytest.approx((1 + 1 / 40) / 2)


def test_no_cycle_is_cut_short_where_the_length_does_not_divide():
    """T = 100, M = 6: cycles of ceil(T / M) leave the last one nine times too hot."""
    cut = ends(100, 6)
    assert cut[-1] == 100
    assert {after - before for before, after in zip([0, *cut], cut, strict=False)} == {16, 17}
    coldest = [cyclic_cosine(end - 1, 100, 6) for end in cut]
    assert max(coldest) / min(coldest) < 1.2
    assert all(cyclic_cosine(start, 100, 6) == 1.0 for start in [0, *cut[:-1]])


def test_a_run_keeps_its_weights_at_the_ends_of_its_cycles(configure, pool):
    config = configure(epochs=4, schedule="cyclic_cosine", snapshots=3)
    trained = train(config, pool)
    assert list(trained.kept) == ["snapshots"]
    first, _, last = trained.kept["snapshots"]
    assert all(torch.equal(last[name], value) for name, value in trained.weights.items())
    assert any(not torch.equal(first[name], value) for name, value in last.items())
    shorter = train(configure(epochs=4), pool).kept
    assert shorter == {}


def test_training_uses_the_schedule(configure, pool, monkeypatch):
    used = []
    monkeypatch.setattr(
        Task,
        "on_before_optimizer_step",
        lambda task, optimizer: used.append(optimizer.param_groups[0]["lr"]),
    )
    train(configure(epochs=4, schedule="cyclic_cosine", snapshots=3), pool)
    assert used == [pytest.approx(0.05 * cyclic_cosine(update, 12, 3)) for update in range(12)]


def test_keeping_weights_changes_no_training(configure, pool):
    plain, kept = train(configure(), pool), train(configure(snapshots=2), pool)
    assert all(torch.equal(plain.weights[name], value) for name, value in kept.weights.items())
    assert plain.history == kept.history


def test_no_mirrored_digit_keeps_its_label():
    assert not any(
        data.describe(name, {}).flips_keep_labels for name in ("digits", "mnist_5k", "mnist")
    )
