"""Snapshots: what a run keeps under the cyclic schedule, and after a warm-up."""

import pytest
import torch

from pipeline.data import sources as data
from pipeline.schedules._schedule import Course
from pipeline.schedules.cyclic_cosine import CyclicCosine
from pipeline.training.task import Task
from pipeline.training.trainer import train


def test_a_run_keeps_its_weights_at_the_ends_of_its_cycles(configure, pool):
    config = configure(epochs=4, schedule={"name": "cyclic_cosine"}, snapshots=3)
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
    train(configure(epochs=4, schedule={"name": "cyclic_cosine"}, snapshots=3), pool)
    course = Course(updates=12, per_epoch=3, snapshots=3)
    expected = [0.05 * CyclicCosine().multiplier(update, course) for update in range(12)]
    assert used == pytest.approx(expected)


def test_cycles_and_snapshots_begin_after_the_warm_up(configure, pool, monkeypatch):
    """Three of twelve updates: cycles of nine, three each, which end where weights are kept."""
    used, weights = [], []

    def look(task, optimizer):
        used.append(optimizer.param_groups[0]["lr"])
        weights.append(next(task.network.parameters()).detach().clone())

    monkeypatch.setattr(Task, "on_before_optimizer_step", look)
    schedule = {"name": "cyclic_cosine"}
    trained = train(configure(epochs=4, schedule=schedule, snapshots=3, warm_up=0.25), pool)
    assert used[:3] == pytest.approx([0.05 / 4, 0.05 / 2, 0.05 * 3 / 4])
    assert [used[number] for number in (3, 6, 9)] == pytest.approx([0.05] * 3)
    name = next(name for name in trained.weights if name.endswith("weight"))
    kept = [state[name] for state in trained.kept["snapshots"]]
    assert all(torch.equal(kept[number], weights[update]) for number, update in ((0, 6), (1, 9)))
    assert torch.equal(kept[2], trained.weights[name])


def test_keeping_weights_changes_no_training(configure, pool):
    plain, kept = train(configure(), pool), train(configure(snapshots=2), pool)
    assert all(torch.equal(plain.weights[name], value) for name, value in kept.weights.items())
    assert plain.history == kept.history


def test_no_mirrored_digit_keeps_its_label():
    assert not any(
        data.describe(name, {}).flips_keep_labels for name in ("digits", "mnist_5k", "mnist")
    )
