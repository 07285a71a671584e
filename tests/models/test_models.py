"""The residual network, its inputs' standardization, and the sites found in it."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import models
from pipeline.models._sites import linear_layers, weights
from pipeline.models._standardized import Inputs, Standardized
from pipeline.runtime.errors import Refusal

DIGITS = {
    "name": "resnet",
    "widths": (8, 16, 32),
    "blocks": 3,
    "hidden": 64,
    "grid": 2,
    "batch_norm": True,
}


def test_the_digits_network_is_the_one_described():
    network = models.build(DIGITS, (1, 8, 8), 10)
    blocks = [module for module in network.modules() if type(module).__name__ == "Block"]
    assert [block.branch[-1].out_channels for block in blocks] == [8] * 3 + [16] * 3 + [32] * 3
    assert sum(isinstance(module, nn.MaxPool2d) for module in network.modules()) == 2
    assert [layer.in_features for _, layer in linear_layers(network)] == [128, 64]
    assert network(torch.rand(5, 1, 8, 8)).shape == (5, 10)


def test_other_shapes_and_no_batch_norm():
    network = models.build(DIGITS | {"batch_norm": False, "widths": (4,)}, (3, 28, 28), 7)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert network(torch.rand(2, 3, 28, 28)).shape == (2, 7)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_hidden_layers_of_a_perceptron_may_have_batch_norm(batch_norm):
    given = {"name": "mlp", "hidden": (16, 8), "batch_norm": batch_norm}
    network = models.build(given, (1, 8, 8), 10)
    kinds = [type(module).__name__ for module in network.get_submodule("network")]
    layer = ["Linear", "BatchNorm1d", "ReLU"] if batch_norm else ["Linear", "ReLU"]
    assert kinds == ["Flatten", *layer, *layer, "Linear"]
    biases = [layer.bias is not None for _, layer in linear_layers(network)]
    assert biases == [not batch_norm, not batch_norm, True]
    assert network(torch.rand(5, 1, 8, 8)).shape == (5, 10)
    plain = models.build({"name": "mlp", "hidden": (16, 8)}, (1, 8, 8), 10)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in plain.modules())


def test_a_perceptron_takes_rows_and_without_hidden_layers_is_logistic_regression():
    network = models.build({"name": "mlp", "hidden": []}, (5, 1, 1), 3)
    rows = torch.rand(4, 5, 1, 1)
    (layer,) = (module for module in network.modules() if isinstance(module, nn.Linear))
    assert torch.equal(
        network(rows), nn.functional.linear(rows.flatten(1), layer.weight, layer.bias)
    )
    norms = models.build({"name": "mlp", "hidden": [7, 6], "batch_norm": True}, (5, 1, 1), 3)
    kinds = [type(module).__name__ for module in norms.network]
    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    assert kinds == ["Flatten", *hidden, *hidden, "Linear"]
    assert norms(rows).shape == (4, 3)


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_convolutions_refuse_rows(name):
    with pytest.raises(Refusal, match="expected mlp"):
        models.build({"name": name}, (5, 1, 1), 3)


def test_a_block_is_its_shortcut_plus_its_branch():
    block = models.build(DIGITS, (1, 8, 8), 10).get_submodule("network.1")
    inputs = torch.rand(3, 8, 8, 8)
    assert torch.allclose(block(inputs), inputs + block.branch(inputs))


def test_weights_are_not_biases_or_normalization():
    network = models.build(DIGITS, (1, 8, 8), 10)
    names = weights(network)
    assert all(parameter.dim() > 1 for parameter in names)
    assert len(names) == 1 + 18 + 2 + 2  # stem, two a block, two shortcuts, two linear
    plain = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.BatchNorm1d(2))
    assert [tuple(parameter.shape) for parameter in weights(plain)] == [(2, 3)]


def test_standardization_uses_the_images_it_was_given():
    images = torch.rand(50, 3, 4, 4) * torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1) + 5
    module = Standardized(nn.Identity(), Inputs((3, 4, 4)))
    assert torch.equal(module(images), images)
    module.fit(images)
    seen = module(images)
    assert torch.allclose(seen.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(seen.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)
    assert set(module.state_dict()) == {"mean", "deviation"}


def test_bytes_are_standardized_as_their_fractions_are():
    images = torch.randint(0, 256, (1500, 3, 4, 4), dtype=torch.uint8) // torch.tensor(
        [1, 2, 200], dtype=torch.uint8
    ).view(3, 1, 1)
    counted, summed = (Standardized(nn.Identity(), Inputs((3, 4, 4))) for _ in range(2))
    counted.fit(images)
    summed.fit(images.double() / 255)
    assert torch.allclose(counted.mean, summed.mean, rtol=1e-6)
    assert torch.allclose(counted.deviation, summed.deviation, rtol=1e-6)


def test_a_constant_channel_stays_finite():
    module = Standardized(nn.Identity(), Inputs((1, 4, 4)))
    module.fit(torch.ones(4, 1, 2, 2))
    assert torch.isfinite(module(torch.ones(4, 1, 2, 2))).all()


@pytest.mark.parametrize("name", sorted(set(models.settings()) - {"imported"}))
def test_every_model_builds_from_its_defaults(name):
    network = models.build({"name": name, **models.settings()[name]().model_dump()}, (1, 8, 8), 10)
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("kind", ["bytes", "fractions"])
@pytest.mark.parametrize(
    ("statistics", "axes", "sizes"),
    [
        ("channel", (0, 2, 3), (1, 3, 1, 1)),
        ("feature", (0,), (1, 3, 5, 4)),
        ("global", (0, 1, 2, 3), (1, 1, 1, 1)),
    ],
)
def test_inputs_are_normalized_by_the_statistics_that_are_named(kind, statistics, axes, sizes):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 200, (40, 3, 5, 4)).astype(np.uint8)
    images[:, 2, 1, 1] = 7  # a pixel that never varies
    fractions = images / 255
    given = torch.from_numpy(images if kind == "bytes" else fractions.astype(np.float32))
    mean = fractions.mean(axes, keepdims=True)
    deviation = fractions.std(axes, keepdims=True)
    assert mean.shape == sizes
    deviation = np.where(deviation > 1e-6, deviation, 1)
    shown = torch.from_numpy(fractions.astype(np.float32))
    for normalization, expected in (
        ("none", fractions),
        ("centred", fractions - mean),
        ("standardized", (fractions - mean) / deviation),
    ):
        module = Standardized(nn.Identity(), Inputs((3, 5, 4), normalization, statistics))
        module.fit(given)
        assert tuple(module.mean.shape) == sizes
        assert module(shown).numpy() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "sigmoid", "gelu"])
def test_every_built_in_network_has_every_activation(name, activation):
    network = models.build({"name": name, "activation": activation}, (1, 16, 16), 3)
    kinds = {type(module).__name__.lower() for module in network.modules()}
    every = {"relu", "leakyrelu", "tanh", "sigmoid", "gelu"}
    assert kinds & every == {activation.replace("_", "")}
    assert network(torch.rand(2, 1, 16, 16)).shape == (2, 3)
