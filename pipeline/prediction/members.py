"""Compute the members of one network, as logits: deterministic, noise passes, augmented views.

Batch norm is frozen in all of them, and draws are seeded by name, so that T passes are the first T
of any larger number.
"""

import itertools
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from pipeline.config.test_rules import DETERMINISTIC, TestRule
from pipeline.data.loader import ImageTensor, as_fractions
from pipeline.models._randomness import restored_globals, seed_globals
from pipeline.prediction.prefix import repeated
from pipeline.regularizers._noise import NoiseLayer, mode, noise_layers, seed_noise
from pipeline.regularizers._regularizer import Regularizer, batch_generator
from pipeline.runtime.errors import Refusal

CHUNK = 500  # examples at once: fixed, since some draws depend on it
VIEWED = 20 * CHUNK  # examples whose changes are drawn at once: fixed, too


def deterministic(network: nn.Module, images: ImageTensor) -> Tensor:
    """Return logits (1, N, classes) without noise, by each regularizer's deterministic form."""
    with mode(network, training=False, sampling=False), restored_globals():
        seed_globals(0, "deterministic")
        return _logits(network, images)[None]


def noise(network: nn.Module, images: ImageTensor, passes: int, seed: int) -> Tensor:
    """Return logits (passes, N, classes) with noise layers sampling.

    What comes before any noise is computed once.

    Args:
        network: With noise layers.
        images: (N, channels, height, width), fractions or bytes.
        passes: Number of passes, >= 1.
        seed: That of the noise stream.

    Raises:
        Refusal: `passes` is not an integer >= 1.
    """
    _require(passes, "noise passes")
    layers = noise_layers(network)
    parts = []
    with mode(network, training=False, sampling=True), restored_globals():
        for place, chunk in enumerate(_chunks(network, images)):
            prepare = [partial(_seed, layers, seed, number, place) for number in range(passes)]
            parts.append(repeated(network, chunk, prepare))
    return torch.cat(parts, dim=1).cpu()


def augmented(
    network: nn.Module,
    images: ImageTensor,
    views: int,
    regularizers: Sequence[Regularizer],
    seed: int,
) -> Tensor:
    """Return logits (views, N, classes) of images as training changes them, without noise.

    `seed` is that of the augmentation stream.

    Raises:
        Refusal: `views` is not an integer >= 1.
    """
    _require(views, "views")
    members = []
    for number in range(views):
        changed = _views(images, regularizers, seed, number)
        members.append(torch.cat([deterministic(network, part) for part in changed], dim=1))
    return torch.cat(members)


def trained(
    network: nn.Module,
    images: ImageTensor,
    views: int,
    regularizers: Sequence[Regularizer],
    seeds: tuple[int, int],
) -> Tensor:
    """Return logits (views, N, classes) of the same views with noise layers sampling.

    `seeds` are those of the augmentation and the noise stream.
    """
    members = []
    with mode(network, training=False, sampling=True), restored_globals():
        for number in range(views):
            changed = _views(images, regularizers, seeds[0], number)
            members.append(_noisy(network, changed, seeds[1], number, len(images)))
    return torch.stack(members)


def by_rule(network: nn.Module, images: ImageTensor, rule: TestRule, seed: int) -> Tensor:
    """Return the logits (members, N, classes) that a test rule averages.

    `seed` is that of the noise stream.
    """
    if rule == DETERMINISTIC:
        return deterministic(network, images)
    return noise(network, images, rule.members, seed)


def view(
    images: Tensor, regularizers: Sequence[Regularizer], seed: int, number: int, place: int = 0
) -> Tensor:
    """Return images changed as in training, by draw `number` of the part `place` of all images."""
    targets = images.new_zeros(len(images), 1)
    return _changed(images, targets, regularizers, seed, number, place)[0]


def keep_labels(images: ImageTensor, regularizers: Sequence[Regularizer], seed: int) -> bool:
    """Return whether the changes of training move images and no target.

    What mixes or smooths labels makes no view.
    """
    some = as_fractions(images[:VIEWED])
    marks = 1 + torch.arange(len(some), dtype=some.dtype)[:, None]
    views, targets = _changed(some, marks, regularizers, seed, 0)
    return torch.equal(marks, targets) and not torch.equal(some, views)


def _views(
    images: ImageTensor, regularizers: Sequence[Regularizer], seed: int, number: int
) -> Iterator[Tensor]:
    """Yield a view of all images in parts."""
    for place, part in enumerate(images.split(VIEWED)):
        yield view(as_fractions(part), regularizers, seed, number, place)


def _changed(
    images: Tensor,
    targets: Tensor,
    regularizers: Sequence[Regularizer],
    seed: int,
    number: int,
    place: int = 0,
) -> tuple[Tensor, Tensor]:
    drawn = (number, place) if place else (number,)
    for regularizer in regularizers:
        generator = batch_generator(regularizer.name, seed, "view", *drawn)
        images, targets = regularizer.modify_batch(images, targets, generator)
    return images, targets


def _require(number: int, what: str) -> None:
    if not isinstance(number, int) or number < 1:
        raise Refusal(f"{what}: invalid value {number}; expected an integer >= 1")


def _noisy(
    network: nn.Module, parts: Iterator[Tensor], seed: int, number: int, count: int
) -> Tensor:
    """Return logits (N, classes) of one noise pass over `count` images."""
    layers = noise_layers(network)
    chunks = (chunk for part in parts for chunk in _chunks(network, part))
    passes = (
        repeated(network, chunk, [partial(_seed, layers, seed, number, place)])[0]
        for place, chunk in enumerate(chunks)
    )
    return _gathered(passes, count)


def _seed(layers: Sequence[NoiseLayer], seed: int, number: int, place: int) -> None:
    """Seed a noise pass over one chunk of examples, and what the network draws itself."""
    seed_noise(layers, seed, "pass", number, place)
    seed_globals(seed, "pass", number, place)


@torch.no_grad()
def _logits(network: nn.Module, images: ImageTensor) -> Tensor:
    return _gathered((network(chunk) for chunk in _chunks(network, images)), len(images))


def _gathered(parts: Iterator[Tensor], count: int) -> Tensor:
    """Return the `count` rows of all parts on the CPU.

    In a tensor made once: many small ones would fragment freed memory.
    """
    first = next(parts)
    rows = first.new_empty(count, *first.shape[1:])
    end = 0
    for part in itertools.chain([first], parts):
        rows[end : end + len(part)] = part
        end += len(part)
    return rows.cpu()


def _chunks(network: nn.Module, images: ImageTensor) -> Iterator[Tensor]:
    """Return CHUNK images at a time, as fractions, on the network's device."""
    device = next(network.parameters()).device
    return (as_fractions(chunk.to(device)) for chunk in images.split(CHUNK))
