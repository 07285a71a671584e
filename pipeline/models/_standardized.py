"""Keep the mean and deviation of a network's inputs with it, so that its weights file is complete.

Not the loader's task, because augmentation works on images in [0, 1], before standardization.
"""

import torch
from torch import Tensor, nn

from pipeline.data.arrays import COPY_CHUNK, MAX_PIXEL
from pipeline.models._probe import Probe


class Standardized(nn.Module):
    """network((images - mean) / deviation), per channel; mean 0 and deviation 1 before `fit`.

    Args:
        network: Takes images (N, channels, height, width) and returns logits (N, classes).
        channels: The number of channels.
        probe: What a training pass of the network showed; None for one of this package, which takes
            images in channels_last layout and uses all its modules and weights.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, channels: int, probe: Probe | None = None):
        super().__init__()
        self.probe = probe
        self.memory_format = probe.memory_format if probe else torch.channels_last
        self.network = network.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))

    def fit(self, images: Tensor) -> None:
        """Compute mean and deviation per channel of training images (N, channels, height, width).

        Fractions, or bytes, which are counted and not copied.
        """
        deviation, mean = _counted(images) if images.dtype == torch.uint8 else _summed(images)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp_min(1e-6))  # a constant channel stays finite

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, channels, height, width) in [0, 1]."""
        inputs = ((images - self.mean) / self.deviation).contiguous(
            memory_format=self.memory_format
        )
        if self.memory_format is torch.contiguous_format:
            # images of one channel are contiguous in both layouts: convolutions look at strides
            inputs = inputs.flatten().view(inputs.shape)
        logits: Tensor = self.network(inputs)
        return logits


def _summed(images: Tensor) -> tuple[Tensor, Tensor]:
    return torch.std_mean(images, dim=(0, 2, 3), keepdim=True, correction=0)


def _counted(images: Tensor) -> tuple[Tensor, Tensor]:
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
