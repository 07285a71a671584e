"""Keep the mean and deviation of a network's inputs with it, so that its weights file is complete.

Not the loader's task, because augmentation works on images in [0, 1], before standardization.
"""

import math
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor, nn

from pipeline.data.arrays import COPY_CHUNK, MAX_PIXEL, is_row
from pipeline.data.loader import ImageTensor
from pipeline.models._probe import Probe

Normalization = Literal["none", "centred", "standardized"]
Statistics = Literal["channel", "feature", "global"]
AXES = {"channel": (0, 2, 3), "feature": (0,), "global": (0, 1, 2, 3)}  # averaged over
CONSTANT = 1e-6  # a smaller deviation is a constant's; rows of a table may have tiny units


@dataclass(frozen=True)
class Inputs:
    """How a network normalizes its inputs.

    Attributes:
        shape: (channels, height, width) of the examples.
        normalization: none, centred (the mean is subtracted) or standardized (divided, too).
        statistics: The values over which mean and deviation are computed: each channel, each pixel
            of each channel (feature), or all pixels (global).
    """

    shape: tuple[int, ...]
    normalization: Normalization = "standardized"
    statistics: Statistics = "channel"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the shape (1, channels, height, width) of mean and deviation, 1 if averaged."""
        axes = AXES[self.statistics]
        return tuple(1 if axis in axes else size for axis, size in enumerate((1, *self.shape)))


class Standardized(nn.Module):
    """network((images - mean) / deviation); mean 0 and deviation 1 before `fit`.

    Args:
        network: Takes images (N, channels, height, width) and returns logits (N, classes).
        inputs: How the images are normalized.
        probe: What a training pass of the network showed; None for one of this package, which takes
            images in channels_last layout and uses all its modules and weights.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, inputs: Inputs, probe: Probe | None = None):
        super().__init__()
        self.probe = probe
        self.memory_format = probe.memory_format if probe else torch.channels_last
        self.network = network.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.inputs = inputs
        self.frozen: tuple[str, ...] = ()  # names of tensors that training must not change
        self.resting: tuple[str, ...] = ()  # names of modules that stay in evaluation mode
        self.head: str = ""  # the only module that is called, on features; "" for the network
        self.register_buffer("mean", torch.zeros(inputs.sizes))
        self.register_buffer("deviation", torch.ones(inputs.sizes))

    def fit(self, images: ImageTensor) -> None:
        """Compute mean and deviation of training images (N, channels, height, width).

        Fractions, or bytes, which are counted and not copied.
        """
        if self.inputs.normalization == "none":
            return
        deviation, mean = _moments(images, self.inputs.statistics)
        self.mean.copy_(mean)
        if self.inputs.normalization == "standardized":
            self.deviation.copy_(deviation)

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for modules of frozen layers, which stay in evaluation mode."""
        super().train(mode)
        for name in self.resting:
            self.get_submodule(name).training = False
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, channels, height, width) in [0, 1].

        Where `head` names a module, for the features that it takes.
        """
        if self.head:
            of_features: Tensor = self.get_submodule(self.head)(images)
            return of_features
        inputs = ((images - self.mean) / self.deviation).contiguous(
            memory_format=self.memory_format
        )
        if self.memory_format is torch.contiguous_format:
            # images of one channel are contiguous in both layouts: convolutions look at strides
            inputs = inputs.flatten().view(inputs.shape)
        logits: Tensor = self.network(inputs)
        return logits


def _moments(images: ImageTensor, statistics: Statistics) -> tuple[Tensor, Tensor]:
    """Return deviation and mean, in the shape that broadcasts over images.

    A constant channel stays finite; a constant pixel is divided by 1, since others may vary there.
    """
    of_rows = is_row(tuple(images.shape[1:]))
    if statistics == "channel" and not of_rows:
        counted = _counted(images) if images.dtype == torch.uint8 else _of_channels(images)
        deviation, mean = counted
        return deviation.clamp_min(CONSTANT), mean
    deviation, mean = _summed(images, statistics)
    return torch.where(deviation > (0 if of_rows else CONSTANT), deviation, 1.0), mean


def _of_channels(images: ImageTensor) -> tuple[Tensor, Tensor]:
    if isinstance(images, Tensor):
        return torch.std_mean(images, dim=(0, 2, 3), keepdim=True, correction=0)
    return _summed(images, "channel")


def _summed(images: ImageTensor, statistics: Statistics) -> tuple[Tensor, Tensor]:
    """Return deviation and mean from sums over pieces."""
    total = torch.zeros((), dtype=torch.double)
    squares = torch.zeros((), dtype=torch.double)
    scale = MAX_PIXEL if images.dtype == torch.uint8 else 1
    for chunk in images.split(COPY_CHUNK):
        values = chunk.double() / scale
        total = total + values.sum(AXES[statistics], keepdim=True)
        squares = squares + values.square().sum(AXES[statistics], keepdim=True)
    count = math.prod(images.shape) // total.numel()
    mean = total / count
    return (squares / count - mean.square()).clamp_min(0).sqrt(), mean


def _counted(images: ImageTensor) -> tuple[Tensor, Tensor]:
    """Return deviation and mean (1, channels, 1, 1) of bytes as fractions, exact, from counts."""
    counts = torch.zeros(images.shape[1], MAX_PIXEL + 1, dtype=torch.double)
    for chunk in images.split(COPY_CHUNK):
        counts += torch.stack(
            [
                torch.bincount(channel.flatten(), minlength=MAX_PIXEL + 1)
                for channel in chunk.unbind(1)
            ]
        )
    shares = counts / counts.sum(1, keepdim=True)
    values = torch.arange(MAX_PIXEL + 1).double() / MAX_PIXEL
    mean = shares @ values
    deviation = (shares * (values - mean[:, None]) ** 2).sum(1).sqrt()
    return deviation.view(1, -1, 1, 1), mean.view(1, -1, 1, 1)
