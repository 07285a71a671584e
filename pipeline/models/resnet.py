"""A pre-activation residual network (He et al., Identity Mappings in Deep Residual Networks, 2016).

Stages of blocks with max pooling between them, adaptive average pooling, one hidden linear layer.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from pipeline.models._activation import ACTIVATIONS, Activation
from pipeline.models._initialization import Network


class Model(Network):
    """Settings of the network.

    Attributes:
        widths: Channels of each stage.
        blocks: Blocks per stage.
        hidden: Hidden units.
        grid: Side of the last grid, in pixels.
        batch_norm: Whether blocks have batch norm.
        activation: The activation of blocks and of the hidden layer.
    """

    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field((8, 16, 32), min_length=1)
    blocks: int = Field(3, ge=1)
    hidden: int = Field(64, ge=1)
    grid: int = Field(2, ge=1)
    batch_norm: bool = True
    activation: Activation = "relu"


class Block(nn.Module):
    """The sum shortcut(x) + branch(x); the branch is norm, activation, 3x3 convolution, twice."""

    def __init__(self, channels: int, width: int, batch_norm: bool, activation: Activation):
        super().__init__()
        self.shortcut = (
            nn.Identity() if channels == width else nn.Conv2d(channels, width, 1, bias=False)
        )
        self.branch = nn.Sequential(
            _norm(channels, batch_norm),
            ACTIVATIONS[activation](),
            nn.Conv2d(channels, width, 3, padding=1, bias=not batch_norm),
            _norm(width, batch_norm),
            ACTIVATIONS[activation](),
            nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, width, H, W) for inputs (N, channels, H, W)."""
        output: Tensor = self.shortcut(inputs) + self.branch(inputs)
        return output


def build(settings: Model, shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return the network (N, *shape) -> logits (N, classes), shape (channels, height, width)."""
    stem = nn.Conv2d(shape[0], settings.widths[0], 3, padding=1, bias=False)
    stages: list[nn.Module] = []
    channels = settings.widths[0]
    for index, width in enumerate(settings.widths):
        stages += [nn.MaxPool2d(2)] * bool(index)
        for _ in range(settings.blocks):
            stages.append(Block(channels, width, settings.batch_norm, settings.activation))
            channels = width
    features = [
        _norm(channels, settings.batch_norm),
        ACTIVATIONS[settings.activation](),
        nn.AdaptiveAvgPool2d(settings.grid),
        nn.Flatten(),
    ]
    head = [
        nn.Linear(channels * settings.grid**2, settings.hidden),
        ACTIVATIONS[settings.activation](),
        nn.Linear(settings.hidden, classes),
    ]
    return nn.Sequential(stem, *stages, *features, *head)


def _norm(channels: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
