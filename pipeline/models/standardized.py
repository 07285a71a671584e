"""A network together with the mean and deviation of its inputs, so that its weights file is complete.

Separate from the loader because augmentation works on images in [0, 1], before standardization.
"""

import torch
from torch import Tensor, nn


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
        """Takes mean and deviation per channel from the training images (N, channels, height, width) alone."""
        deviation, mean = torch.std_mean(images, dim=(0, 2, 3), keepdim=True, correction=0)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp_min(1e-6))  # a constant channel stays finite

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, height, width) in [0, 1] -> logits (N, classes)."""
        logits: Tensor = self.network((images - self.mean) / self.deviation)
        return logits
