"""A run's network, put together from its identity: what training begins with and prediction loads weights into.

Separate so that there is one way to build it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import models, regularizers
from pipeline.config.run import RunConfig
from pipeline.config.streams import derive
from pipeline.models._standardized import Standardized
from pipeline.regularizers.base import Regularizer


def assemble(
    config: RunConfig, chosen: Sequence[Regularizer], shape: tuple[int, ...], classes: int
) -> Standardized:
    """The network with its noise layers and initial weights, for images of `shape` (channels, height, width).

    The global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(config.streams.init, "init"))
        network = models.build(config.model, shape, classes)
    regularizers.equip(network, chosen)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # untyped in torch


def as_images(images: NDArray[np.float32] | NDArray[np.uint8]) -> Tensor:
    """Images (N, channels, height, width), fractions or bytes as they are, in the layout small networks are faster on."""
    return torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
