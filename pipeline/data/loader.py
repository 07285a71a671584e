"""Make batches in an order that depends only on a seed and the epoch.

Resuming needs no generator state, which Lightning's loaders would: each epoch derives its order.
"""

from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config.streams import derive
from pipeline.data.arrays import MAX_PIXEL
from pipeline.data.stored import StoredImages


def channels_last(images: NDArray[Any]) -> Tensor:
    """Return images (N, channels, height, width) in channels_last layout."""
    return torch.from_numpy(images).contiguous(memory_format=torch.channels_last)


class StoredTensor:
    """Images that are read where they are used, as parts of a tensor in channels_last layout."""

    def __init__(self, images: StoredImages):
        self.images = images
        self.shape = images.shape
        self.dtype = channels_last(images[:1]).dtype

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, chosen: slice | Tensor) -> Tensor:
        """Return the images of a slice, or at indices."""
        return channels_last(self.images[chosen if isinstance(chosen, slice) else chosen.numpy()])

    def split(self, size: int) -> Iterator[Tensor]:
        """Yield the images in their order, `size` at a time."""
        return (self[start : start + size] for start in range(0, len(self), size))


ImageTensor = Tensor | StoredTensor


def as_fractions(images: Tensor) -> Tensor:
    """Return images in [0, 1]; bytes are divided by 255, which takes four times their memory."""
    return images if images.is_floating_point() else images.float() / MAX_PIXEL


class Batches:
    """Shuffled batches of (images, targets); set `epoch` before iterating.

    An incomplete last batch is dropped unless it is the only one, so that every update of a run
    uses the same number of examples. `images` (N, channels, height, width) are fractions or bytes,
    batches hold fractions; `targets` (N, classes) are distributions over classes.
    """

    def __init__(self, images: ImageTensor, targets: Tensor, batch_size: int, seed: int):
        self.images = images
        self.targets = targets
        self.size = min(batch_size, len(images))
        self.seed = seed
        self.epoch = 0
        self.share = (0, 1)  # (part, parts) of every batch, where several devices train a network

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.images) // self.size

    def order(self) -> Tensor:
        """Return the order (N,) in which this epoch visits the examples."""
        generator = torch.Generator().manual_seed(derive(self.seed, "order", self.epoch))
        return torch.randperm(len(self.images), generator=generator)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of this epoch."""
        order = self.order()
        part, parts = self.share
        for start in range(0, len(self) * self.size, self.size):
            chosen = order[start + part : start + self.size : parts]
            yield as_fractions(self.images[chosen]), self.targets[chosen]
