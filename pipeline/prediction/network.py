"""Build a run's network from its identity, for training and for prediction."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import models, regularizers
from pipeline.config.run import RunConfig
from pipeline.models._randomness import restored_globals, seed_globals
from pipeline.models._standardized import Standardized
from pipeline.regularizers._regularizer import Regularizer


def assemble(
    config: RunConfig, chosen: Sequence[Regularizer], shape: tuple[int, ...], classes: int
) -> Standardized:
    """Return the network with its noise layers and initial weights.

    Initial weights are drawn from the global generators, which are restored.

    Args:
        config: The settings and streams of the run.
        chosen: The regularizers that place noise.
        shape: (channels, height, width) of the images.
        classes: The number of logits.

    Raises:
        Refusal: The network cannot take the images, or a regularizer cannot act on it.
    """
    with restored_globals():
        seed_globals(config.streams.init, "init")
        network = models.build(config.model, shape, classes)
        regularizers.equip(network, chosen)
    return network


def as_images(images: NDArray[np.float32] | NDArray[np.uint8]) -> Tensor:
    """Return images (N, channels, height, width), fractions or bytes, in channels_last layout.

    Small networks are faster on it.
    """
    return torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
