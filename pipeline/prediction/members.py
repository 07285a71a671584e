"""The members of one network: deterministic, noise passes, augmented views; logits with a member axis.

Separate from averaging, which is a pure function of what is made here. Batch norm is frozen in all of
them, and draws are seeded by name, so that T passes are the first T of any larger number.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.regularizers.base import DETERMINISTIC, NOISE_PASSES, Regularizer, mode, noise_layers, seed_batch, seed_noise

CHUNK = 500  # examples at once: fixed, since some draws depend on it


def deterministic(network: nn.Module, images: Tensor) -> Tensor:
    """Logits (1, N, classes) without noise, by each regularizer's standard form."""
    with mode(network, training=False, sampling=False):
        return _logits(network, images)[None]


def noise(network: nn.Module, images: Tensor, passes: int, seed: int) -> Tensor:
    """Logits (passes, N, classes), noise layers sampling. `seed` is that of the noise stream."""
    return _noisy(network, [images] * passes, seed)


def augmented(network: nn.Module, images: Tensor, views: int, regularizers: Sequence[Regularizer], seed: int) -> Tensor:
    """Logits (views, N, classes) of images as training changes them, without noise. `seed`: augmentation stream."""
    drawn = [view(images, regularizers, seed, number) for number in range(views)]
    return torch.cat([deterministic(network, images) for images in drawn])


def trained(
    network: nn.Module, images: Tensor, views: int, regularizers: Sequence[Regularizer], seeds: tuple[int, int]
) -> Tensor:
    """Logits (views, N, classes) of the same views with noise layers sampling. `seeds`: augmentation, noise."""
    drawn = [view(images, regularizers, seeds[0], number) for number in range(views)]
    return _noisy(network, drawn, seeds[1])


def by_rule(network: nn.Module, images: Tensor, rule: str, seed: int) -> Tensor:
    """The members that a test rule averages. `seed` is that of the noise stream."""
    return deterministic(network, images) if rule == DETERMINISTIC else noise(network, images, NOISE_PASSES, seed)


def view(images: Tensor, regularizers: Sequence[Regularizer], seed: int, number: int) -> Tensor:
    """Images changed as in training, by draw `number`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        targets = images.new_zeros(len(images), 1)
        for regularizer in regularizers:
            seed_batch(regularizer, seed, "view", number)
            images, targets = regularizer.modify_batch(images, targets)
    return images


def _noisy(network: nn.Module, passes: Sequence[Tensor], seed: int) -> Tensor:
    """One noise pass over each of `passes`, seeded by its number."""
    layers, members = noise_layers(network), []
    with mode(network, training=False, sampling=True):
        for number, images in enumerate(passes):
            seed_noise(layers, seed, "pass", number)
            members.append(_logits(network, images))
    return torch.stack(members)


@torch.no_grad()
def _logits(network: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([network(chunk) for chunk in images.split(CHUNK)])
