"""Norms along training: against the weights and gradients that are there."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.records.history import points
from pipeline.training.norms import Norms
from pipeline.training.trainer import train

PLAIN = {"name": "sgd", "momentum": 0.0, "nesterov": False}
KEYS = ("squared_weight_norm", "gradient_norm", "update_ratio")


def test_norms_are_those_of_the_weights_without_biases():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    norms = Norms(network)
    first, last = network[0].weight, network[3].weight
    before = [weight.detach().numpy().copy() for weight in (first, last)]
    norms.begin()
    network(torch.randn(5, 4)).square().sum().backward()
    with torch.no_grad():
        first.mul_(1.1)
        last.add_(0.01)
    measured = norms.measured()
    weights = [weight.detach().numpy() for weight in (first, last)]
    gradients = [weight.grad.numpy() for weight in (first, last)]
    assert list(measured["layers"]) == ["0.weight", "3.weight"]

    def expected(places):
        of = [
            np.concatenate([arrays[place].ravel() for place in places])
            for arrays in (weights, gradients, before)
        ]
        weight, gradient, start = of
        ratio = np.linalg.norm(weight - start) / np.linalg.norm(start)
        return [np.square(weight).sum(), np.linalg.norm(gradient), ratio]

    for row, places in (
        (measured, (0, 1)),
        (measured["layers"]["0.weight"], (0,)),
        (measured["layers"]["3.weight"], (1,)),
    ):
        assert [row[key] for key in KEYS] == pytest.approx(expected(places), rel=1e-3)
    assert measured["layers"]["0.weight"]["update_ratio"] == pytest.approx(0.1, rel=1e-3)


def test_a_network_without_weights_has_no_norms():
    assert Norms(nn.Sequential(nn.Flatten())).measured() == {}


def test_the_update_of_plain_descent_is_rate_times_gradient(configure, pool):
    rate = 0.02
    config = configure(optimizer=PLAIN, schedule={"name": "constant"}, learning_rate=rate, epochs=3)
    history = train(config, pool).history
    rows = [row for row in history if row["split"] == "train"]
    assert [row["epoch"] for row in rows] == [2, 3]
    for row in rows:
        for layer in row["layers"].values():
            before = layer["squared_weight_norm"] ** 0.5  # that after it is nearly the same
            update = layer["update_ratio"] * before
            assert update == pytest.approx(rate * layer["gradient_norm"], rel=0.02)
    assert not any(key in row for row in history if row["split"] == "validation" for key in KEYS)
    assert all(set(KEYS) <= set(point) for point in points(history))
