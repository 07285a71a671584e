"""Compute the features of a frozen trunk once, so that training a head costs the head alone.

Features are computed in chunks of a fixed size, as predictions are. In batches of another size a
convolution may round otherwise, so a run takes one of the two ways by its settings alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.config.start import RunStart
from pipeline.data.loader import ImageTensor, as_fractions
from pipeline.models._layers import layers
from pipeline.models._randomness import global_states, restored_globals, seed_globals
from pipeline.models._standardized import Standardized
from pipeline.prediction.members import CHUNK
from pipeline.regularizers._noise import mode, noise_layers
from pipeline.regularizers._regularizer import Regularizer


def head_alone(
    network: Standardized, start: RunStart, regularizers: Sequence[Regularizer], images: Tensor
) -> str:
    """Return the name of the layer that can be trained on features; "" where features vary.

    They do where a layer below is trained or adapts its statistics, where noise or augmentation
    changes them, and where the network itself draws or computes otherwise in training.

    Args:
        network: The network, equipped and frozen.
        start: What is trained.
        regularizers: Those of the run that are not neutral.
        images: A few of the training images (N, channels, height, width).
    """
    if start.train != "head" or start.norm == "adapted":
        return ""
    if noise_layers(network) or any(item.augments for item in regularizers):
        return ""
    head = layers(network)[-1].name
    return head if _is_last_step(network, head, as_fractions(images)) else ""


@torch.no_grad()
def features_of(network: Standardized, head: str, images: ImageTensor) -> Tensor:
    """Return the inputs of the head, (N, ...), for images (N, channels, height, width)."""
    chunks = (as_fractions(chunk) for chunk in images.split(CHUNK))
    with mode(network, training=False, sampling=False):
        return torch.cat([_pass(network, head, chunk)[0] for chunk in chunks])


def _is_last_step(network: Standardized, head: str, images: Tensor) -> bool:
    """Return whether logits are the head of features that are the same in both modes."""
    results = []
    with torch.no_grad(), restored_globals():
        for training in (True, False):
            seed_globals(0, "features")
            before = global_states()
            with mode(network, training=training, sampling=False):
                features, logits = _pass(network, head, images)
                is_head = torch.equal(network.get_submodule(head)(features), logits)
            results.append((is_head and global_states() == before, features))
    (one, trained), (other, tested) = results
    return one and other and torch.equal(trained, tested)


def _pass(network: Standardized, head: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the input of the head and the logits of a forward pass."""
    taken: list[Tensor] = []

    def take(module: Any, given: tuple[Any, ...]) -> None:
        taken.append(given[0])

    hook = network.get_submodule(head).register_forward_pre_hook(take)
    try:
        logits: Tensor = network(images)
    finally:
        hook.remove()
    return taken[-1], logits
