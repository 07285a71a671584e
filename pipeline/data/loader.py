"""Batches from memory, in an order that depends on a seed and the epoch alone.

Separate from Lightning's loaders because resuming must not need the state of a generator: the order of
an epoch is derived when the epoch begins, not carried over from the one before.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.config.streams import derive
from pipeline.data.arrays import BRIGHTEST


def as_fractions(images: Tensor) -> Tensor:
    """Images in [0, 1], bytes as fractions of 255: four times the memory, so of few images at once."""
    return images if images.is_floating_point() else images.float() / BRIGHTEST


class Batches:
    """Shuffled batches of (images, targets); set `epoch` before iterating. An incomplete last batch is dropped
    unless it is the only one, so that every update of a run sees the same number of examples.

    `images` (N, channels, height, width), fractions or bytes, of which a batch has the fractions; `targets` (N, classes)
    distributions over classes.
    """

    def __init__(self, images: Tensor, targets: Tensor, batch_size: int, seed: int):
        self.images = images
        self.targets = targets
        self.size = min(batch_size, len(images))
        self.seed = seed
        self.epoch = 0
        self.share = (
            0,
            1,
        )  # which part of every batch, of how many: for several devices that train one network

    def __len__(self) -> int:
        return len(self.images) // self.size

    def order(self) -> Tensor:
        """The order (N,) in which this epoch visits the examples."""
        generator = torch.Generator().manual_seed(derive(self.seed, "order", self.epoch))
        return torch.randperm(len(self.images), generator=generator)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order, (part, parts) = self.order(), self.share
        for batch in range(len(self)):
            chosen = order[batch * self.size + part : (batch + 1) * self.size : parts]
            yield as_fractions(self.images[chosen]), self.targets[chosen]
