"""Oracles of initial weights: variances, and what they do to signals through many layers."""

import math

import pytest
import torch
from torch import nn

from pipeline import models

UNITS = 256


def network(how, shape=(1, 16, 16), **more):
    torch.manual_seed(0)
    return models.build({"name": "mlp", "initialization": how, **more}, shape, 10).network


def test_weights_of_torch_have_a_third_of_the_variance_of_xavier():
    """Uniform in +-1 / sqrt(inputs), so of variance 1 / (3 inputs)."""
    weight = network("own", hidden=(1024,))[1].weight
    assert weight.var().item() == pytest.approx(1 / (3 * UNITS), rel=0.02)
    assert 0.999 / UNITS**0.5 < weight.abs().max().item() <= 1 / UNITS**0.5


@pytest.mark.parametrize(
    ("how", "variance"),
    [("he", 2 / (64 * 9)), ("xavier", 1 / (64 * 9)), ("glorot", 2 / (64 * 9 + 128 * 9))],
)
def test_inputs_of_a_convolution_are_channels_times_pixels(how, variance):
    made = network(how, name="cnn", widths=(64, 128))
    convolution = [layer for layer in made if isinstance(layer, nn.Conv2d)][2]
    assert convolution.weight.shape == (128, 64, 3, 3)
    assert convolution.weight.var().item() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize(
    ("how", "variance"),
    [
        ("he", 2 / UNITS),
        ("xavier", 1 / UNITS),
        ("glorot", 1 / UNITS),
        ("small", 1e-4),
        ("large", 1.0),
    ],
)
def test_signals_scale_by_a_gain_per_layer(how, variance):
    """Mean squares before ReLU are multiplied by inputs * variance / 2 in every layer."""
    layers = 20
    made = network(how, hidden=(UNITS,) * layers).double()
    values = torch.randn(200, UNITS, dtype=torch.double)
    sizes = []
    for layer in list(made)[1:-1]:
        values = layer(values)
        if isinstance(layer, nn.Linear):
            sizes.append(values.square().mean().log().item())
    per_layer = (sizes[-1] - sizes[0]) / (layers - 1)
    assert per_layer == pytest.approx(math.log(UNITS * variance / 2), abs=0.05)


@pytest.mark.parametrize("how", ["he", "small", "large"])
def test_batch_norm_makes_signals_independent_of_the_scale_of_weights(how):
    """The last convolution of eight has outputs of variance 1 after its norm."""
    made = network(how, name="cnn", widths=(16,) * 4)
    values = torch.randn(200, 1, 16, 16)
    for layer in made:
        values = layer(values)
        if isinstance(layer, nn.BatchNorm2d):
            assert values.var().item() == pytest.approx(1, abs=0.05)


def test_the_noise_of_batch_norm_falls_with_the_batch_size():
    """The logits of an image depend on its batch: their variance falls as 1 / images."""
    made = network("he", name="cnn", widths=(8,), shape=(1, 8, 8))
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 1, 8, 8, generator=generator)
    variances = []
    with torch.no_grad():
        for size in (16, 64):
            others = torch.randn(200, size - 1, 1, 8, 8, generator=generator)
            logits = [made(torch.cat([image, batch]))[0] for batch in others]
            variances.append(torch.stack(logits).var(0).mean().item())
    assert variances[0] / variances[1] == pytest.approx(4, rel=0.3)
