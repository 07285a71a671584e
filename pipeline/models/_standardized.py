"""A network together with the mean and deviation of its inputs, so that its weights file is complete.

Separate from the loader because augmentation works on images in [0, 1], before standardization.
"""

import torch
from torch import Tensor, nn

from pipeline.data.arrays import BRIGHTEST, TOGETHER


class Standardized(nn.Module):
    """network((images - mean) / deviation), per channel; identity until `fit` has seen training images."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, channels: int):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))

    def fit(self, images: Tensor) -> None:
        """Takes mean and deviation per channel from the training images (N, channels, height, width) alone.

        Fractions, or bytes, which are counted and not copied.
        """
        deviation, mean = _counted(images) if images.dtype == torch.uint8 else _summed(images)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp_min(1e-6))  # a constant channel stays finite

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, height, width) in [0, 1] -> logits (N, classes)."""
        logits: Tensor = self.network((images - self.mean) / self.deviation)
        return logits


def _summed(images: Tensor) -> tuple[Tensor, Tensor]:
    return torch.std_mean(images, dim=(0, 2, 3), keepdim=True, correction=0)


def _counted(images: Tensor) -> tuple[Tensor, Tensor]:
    """Deviation and mean (1, channels, 1, 1) of bytes as fractions: exact, from how often each value occurs."""
    counts = torch.zeros(images.shape[1], BRIGHTEST + 1, dtype=torch.double)
    for chunk in images.split(TOGETHER):
        counts += torch.stack(
            [
                torch.bincount(channel.flatten(), minlength=BRIGHTEST + 1)
                for channel in chunk.unbind(1)
            ]
        )
    shares, values = (
        counts / counts.sum(1, keepdim=True),
        torch.arange(BRIGHTEST + 1).double() / BRIGHTEST,
    )
    mean = shares @ values
    deviation = (shares * (values - mean[:, None]) ** 2).sum(1).sqrt()
    return deviation.view(1, -1, 1, 1), mean.view(1, -1, 1, 1)
