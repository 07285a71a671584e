"""The members of one network: deterministic, noise passes, augmented views; logits with a member axis.

Separate from averaging, which is a pure function of what is made here. Batch norm is frozen in all of
them, and draws are seeded by name, so that T passes are the first T of any larger number.
"""

import itertools
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from pipeline.config.test_rules import DETERMINISTIC, members
from pipeline.data.loader import as_fractions
from pipeline.prediction.prefix import repeated
from pipeline.regularizers.base import (
    NoiseLayer,
    Regularizer,
    mode,
    noise_layers,
    seed_batch,
    seed_noise,
)
from pipeline.runtime.errors import Refusal

CHUNK = 500  # examples at once: fixed, since some draws depend on it


def deterministic(network: nn.Module, images: Tensor) -> Tensor:
    """Logits (1, N, classes) without noise, by each regularizer's standard form."""
    with mode(network, training=False, sampling=False):
        return _logits(network, images)[None]


def noise(network: nn.Module, images: Tensor, passes: int, seed: int) -> Tensor:
    """Logits (passes, N, classes), noise layers sampling; what comes before any noise is computed once.

    `seed` is that of the noise stream. Raises Refusal where `passes` is less than 1.
    """
    _require(passes, "noise passes")
    layers = noise_layers(network)
    with mode(network, training=False, sampling=True):
        parts = [
            repeated(
                network,
                chunk,
                [partial(_seed, layers, seed, number, place) for number in range(passes)],
            )
            for place, chunk in enumerate(_chunks(network, images))
        ]
    return torch.cat(parts, dim=1).cpu()


def augmented(
    network: nn.Module, images: Tensor, views: int, regularizers: Sequence[Regularizer], seed: int
) -> Tensor:
    """Logits (views, N, classes) of images as training changes them, without noise. `seed`: augmentation stream."""
    _require(views, "views")
    return torch.cat(
        [
            deterministic(network, view(images, regularizers, seed, number))
            for number in range(views)
        ]
    )


def trained(
    network: nn.Module,
    images: Tensor,
    views: int,
    regularizers: Sequence[Regularizer],
    seeds: tuple[int, int],
) -> Tensor:
    """Logits (views, N, classes) of the same views with noise layers sampling. `seeds`: augmentation, noise."""
    with mode(network, training=False, sampling=True):
        return torch.stack(
            [
                _noisy(network, view(images, regularizers, seeds[0], number), seeds[1], number)
                for number in range(views)
            ]
        )


def by_rule(network: nn.Module, images: Tensor, rule: str, seed: int) -> Tensor:
    """The members that a test rule averages. `seed` is that of the noise stream."""
    return (
        deterministic(network, images)
        if rule == DETERMINISTIC
        else noise(network, images, members(rule), seed)
    )


def view(images: Tensor, regularizers: Sequence[Regularizer], seed: int, number: int) -> Tensor:
    """Images changed as in training, by draw `number`; the global generator is left as it was."""
    return _changed(images, images.new_zeros(len(images), 1), regularizers, seed, number)[0]


def keep_labels(images: Tensor, regularizers: Sequence[Regularizer], seed: int) -> bool:
    """Whether the changes of training leave targets alone, and change images: what mixes or smooths labels makes no view."""
    marks = 1 + torch.arange(len(images), dtype=images.dtype)[:, None]
    views, targets = _changed(images, marks, regularizers, seed, 0)
    return torch.equal(marks, targets) and not torch.equal(images, views)


def _changed(
    images: Tensor, targets: Tensor, regularizers: Sequence[Regularizer], seed: int, number: int
) -> tuple[Tensor, Tensor]:
    with torch.random.fork_rng(devices=[]):
        for regularizer in regularizers:
            seed_batch(regularizer, seed, "view", number)
            images, targets = regularizer.modify_batch(images, targets)
    return images, targets


def _require(number: int, what: str) -> None:
    if not isinstance(number, int) or number < 1:
        raise Refusal(f"{what}: {number} is refused; allowed is a whole number, at least 1")


def _noisy(network: nn.Module, images: Tensor, seed: int, number: int) -> Tensor:
    """Logits (N, classes) of one noise pass."""
    layers = noise_layers(network)
    passes = (
        repeated(network, chunk, [partial(_seed, layers, seed, number, place)])[0]
        for place, chunk in enumerate(_chunks(network, images))
    )
    return _gathered(passes, len(images))


def _seed(layers: Sequence[NoiseLayer], seed: int, number: int, place: int) -> None:
    """Seeds a noise pass over one chunk of examples."""
    seed_noise(layers, seed, "pass", number, place)


@torch.no_grad()
def _logits(network: nn.Module, images: Tensor) -> Tensor:
    return _gathered((network(chunk) for chunk in _chunks(network, images)), len(images))


def _gathered(parts: Iterator[Tensor], count: int) -> Tensor:
    """The `count` rows of all parts, on the processor, in a tensor made once: small ones kept would break up freed memory."""
    first = next(parts)
    rows = first.new_empty(count, *first.shape[1:])
    end = 0
    for part in itertools.chain([first], parts):
        rows[end : end + len(part)] = part
        end += len(part)
    return rows.cpu()


def _chunks(network: nn.Module, images: Tensor) -> Iterator[Tensor]:
    """So many images at once, as fractions, where the network is."""
    device = next(network.parameters()).device
    return (as_fractions(chunk.to(device)) for chunk in images.split(CHUNK))
