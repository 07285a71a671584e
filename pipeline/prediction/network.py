"""Build a run's network from its identity, for training and for prediction."""

from collections.abc import Sequence
from typing import Any, overload

from numpy.typing import NDArray
from torch import Tensor

from pipeline import models, regularizers
from pipeline.config.run import RunConfig
from pipeline.config.start import RunStart
from pipeline.data.loader import ImageTensor, StoredTensor, channels_last
from pipeline.data.stored import Images, StoredImages
from pipeline.models._randomness import restored_globals, seed_globals
from pipeline.models._standardized import Standardized
from pipeline.models._start import State, begin
from pipeline.models._weights import load_weights
from pipeline.regularizers._regularizer import Regularizer


def assemble(
    config: RunConfig,
    chosen: Sequence[Regularizer],
    shape: tuple[int, ...],
    classes: int,
    pretrained: bool = False,
    parent: State | None = None,
) -> Standardized:
    """Return the network with its noise layers and initial weights.

    Initial weights are drawn from the global generators, which are restored.

    Args:
        config: The settings and streams of the run.
        chosen: The regularizers that place noise.
        shape: (channels, height, width) of the images.
        classes: The number of logits.
        pretrained: Whether the weights of the file `model.weights` replace those drawn, where there
            is one; for a network whose weights are loaded or unused, the file is not read.
        parent: The state of the run that this one starts from; the same holds for it.

    Raises:
        Refusal: The network cannot take the images, a regularizer cannot act on it, or the file of
            weights or the parent does not fit.
    """
    with restored_globals():
        seed_globals(config.streams.init, "init")
        network = models.build(config.model, shape, classes)
        if pretrained and (path := config.model.get("weights")):
            load_weights(network.network, path)
        if config.start:
            begin(network, RunStart(**config.start), classes, parent)
        regularizers.equip(network, chosen)
    return network


@overload
def as_images(images: NDArray[Any]) -> Tensor: ...
@overload
def as_images(images: Images) -> ImageTensor: ...
def as_images(images: Images) -> ImageTensor:
    """Return images (N, channels, height, width), fractions or bytes, in channels_last layout.

    Small networks are faster on it.
    """
    return StoredTensor(images) if isinstance(images, StoredImages) else channels_last(images)
