"""A plain network: stages of two 3x3 convolutions, batch norm, activation, 2x2 max pooling."""

from typing import Annotated

from pydantic import Field
from torch import nn

from pipeline.models._activation import ACTIVATIONS, Activation
from pipeline.models._initialization import Network


class Model(Network):
    """Settings of the network.

    Attributes:
        widths: Channels of each stage.
        hidden: Hidden units of the head.
        batch_norm: Whether convolutions have batch norm.
        activation: The activation of convolutions and of the head.
    """

    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field((16, 32), min_length=1)
    hidden: int = Field(64, ge=1)
    batch_norm: bool = True
    activation: Activation = "relu"


def build(settings: Model, shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return the network (N, *shape) -> logits (N, classes), shape (channels, height, width)."""
    layers: list[nn.Module] = []
    activation = ACTIVATIONS[settings.activation]
    channels = shape[0]
    for width in settings.widths:
        for _ in range(2):
            norm = [nn.BatchNorm2d(width)] if settings.batch_norm else []
            layers += [
                nn.Conv2d(channels, width, 3, padding=1, bias=not settings.batch_norm),
                *norm,
                activation(),
            ]
            channels = width
        layers.append(nn.MaxPool2d(2))
    head = [
        nn.Linear(channels * 4, settings.hidden),
        activation(),
        nn.Linear(settings.hidden, classes),
    ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), *head)
