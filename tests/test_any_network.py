"""Every regularizer on networks that were not written for it: a plain CNN, an MLP, a residual net with its own forward."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline import models, regularizers
from pipeline.config.errors import Refusal
from pipeline.models.standardized import Standardized
from pipeline.regularizers.base import noise_layers, seed_noise, switch

NAMES = regularizers.names()
ABSENT = {  # network -> what has no place in it
    "mlp": {"spatial_dropout", "fractional_max_pooling", "stochastic_depth"},
    "cnn": {"stochastic_depth"},
    "foreign": set(),
}
SHAPE = (1, 12, 12)


class ForeignBlock(nn.Module):
    """A residual block as users write it: the shortcut is added in its own forward."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if channels != width:
            self.downsample = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


def foreign() -> nn.Module:
    """A small residual net in that style, pooling included."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        *(ForeignBlock(4, 4), ForeignBlock(4, 8), nn.MaxPool2d(2), ForeignBlock(8, 8)),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10)),
    )


def network(kind: str) -> Standardized:
    torch.manual_seed(0)
    if kind == "foreign":
        return Standardized(foreign(), 1)
    return models.build({"name": kind, **models.settings()[kind]().model_dump()}, SHAPE, 10)


def regularizer(name):
    strong = {"augmentation": {"shift": 1.0}, "stochastic_depth": {"survival": 0.3}}
    return regularizers.settings()[name](**strong.get(name, {}))


@pytest.mark.parametrize("kind", ABSENT)
@pytest.mark.parametrize("name", NAMES)
def test_it_acts_or_says_what_it_looked_for(name, kind):
    net = network(kind)
    plain = copy.deepcopy(net)
    if name in ABSENT[kind]:
        with pytest.raises(Refusal, match=name) as refused:
            regularizer(name).modify_model(net)
        assert len(refused.value.lines) == 1
        return
    regularizer(name).modify_model(net)
    assert net.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in net.state_dict().items())
    images, labels = torch.rand(16, *SHAPE), torch.arange(16) % 10
    layers = noise_layers(net)
    switch(net, training=True, sampling=True)
    seed_noise(layers, 0, 0)
    for _ in range(3):
        functional.cross_entropy(net(images), labels).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters() if parameter.grad is not None)
    if layers:
        switch(net, training=False, sampling=True)
        outputs = {tuple(net(images).detach().flatten().tolist()) for _ in range(4)}
        assert len(outputs) > 1
        switch(net, training=False, sampling=False)
        assert torch.equal(net(images), net(images))
        copied = copy.deepcopy(net)
        assert torch.equal(net(images), copied(images))
