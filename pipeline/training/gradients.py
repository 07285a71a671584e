"""Check gradients against differences of the loss, in float64 and with the noise held fixed.

The two-sided difference (loss(w + step) - loss(w - step)) / (2 step) has an error of order step^2;
its relative distance to the gradient is at most 1e-7 where all is right and above 1e-3 where
something is wrong (CS231n, Improving Deep Neural Networks). Where both differ, a second step is
taken; the coordinate is left out if two steps disagree by more than a smooth loss allows: a ReLU or
a maximum switches in between, so there the loss has a kink.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models._randomness import restored_globals, seed_globals
from pipeline.models._standardized import Standardized
from pipeline.regularizers._noise import mode, noise_layers, seed_noise
from pipeline.regularizers._regularizer import Regularizer, batch_generator

STEP = 1e-5
COORDINATES = 4  # of each tensor
SAME = 1e-7  # of the slope, how much a gradient may differ before a kink is looked for
KINK = 1e-6  # of the slope, how much two steps may disagree
NOTHING = 1e-9  # what differences of the loss do not resolve
ROUNDING = 1e-13  # of a gradient that is 0: that of the bias before batch norm
SEED = 0


@dataclass(frozen=True)
class Compared:
    """The gradient of one parameter against differences of the loss.

    Attributes:
        name: The name of the parameter.
        error: |difference - gradient| / (|difference| + |gradient|), Euclidean norms over the
            coordinates compared; 0 where both are 0, NaN where none was compared or the gradient is
            too small for differences of the loss, as in a deep network of small weights.
        compared: The number of coordinates compared.
        kinks: The number of coordinates left out.
    """

    name: str
    error: float
    compared: int
    kinks: int


class NotReproducible(Exception):
    """Two passes with the same noise have different losses."""


def loss_of(
    network: Standardized, regularizers: Sequence[Regularizer], images: Tensor, targets: Tensor
) -> Callable[[], Tensor]:
    """Return a function that computes the training loss of one batch, with equal draws each time.

    Args:
        network: The network with its noise layers, in float64.
        regularizers: Those that change batches, in order.
        images: (examples, channels, height, width) in [0, 1], float64.
        targets: Distributions over classes (examples, classes), float64.
    """
    batch = images, targets
    for regularizer in regularizers:
        if regularizer.augments:
            generator = batch_generator(regularizer.name, SEED, 0, 0)
            batch = regularizer.modify_batch(*batch, generator)
    inputs, mixed = (part.detach().double() for part in batch)
    layers = noise_layers(network)

    def loss() -> Tensor:
        with restored_globals(), mode(network, training=True, sampling=True):
            seed_noise(layers, SEED, 0)
            seed_globals(SEED, "network", 0)
            return functional.cross_entropy(network(inputs), mixed)

    return loss


def check_gradients(network: nn.Module, loss: Callable[[], Tensor]) -> list[Compared]:
    """Return a comparison for every parameter that requires a gradient, in their order.

    Args:
        network: The network, in float64.
        loss: Returns the loss, a scalar; it must not depend on the number of calls.

    Raises:
        NotReproducible: It does.
    """
    named = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    first, second = loss(), loss()
    if first.item() != second.item():
        raise NotReproducible(f"{first.item():.9g} and {second.item():.9g}")
    network.zero_grad(set_to_none=True)
    first.backward()
    generator = torch.Generator().manual_seed(SEED)
    middle = first.item()
    return [_compared(name, value, loss, middle, generator) for name, value in named]


def descend(network: nn.Module, loss: Callable[[], Tensor], updates: int, rate: float) -> None:
    """Take plain gradient steps, so that weights are no longer those of the initialization.

    Args:
        network: The network, in float64.
        loss: Returns the loss, a scalar.
        updates: The number of steps.
        rate: The learning rate.
    """
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    for _ in range(updates):
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()


def _compared(
    name: str,
    parameter: Tensor,
    loss: Callable[[], Tensor],
    middle: float,
    generator: torch.Generator,
) -> Compared:
    """Return the comparison of a parameter; `middle` is the loss at its present value."""
    gradient = parameter.grad
    places = torch.randperm(parameter.numel(), generator=generator)[:COORDINATES].tolist()
    pairs = []
    for place in places:
        analytic = 0.0 if gradient is None else float(gradient.reshape(-1)[place])
        wide = _differences(parameter, place, loss, middle, STEP)
        if abs(wide.slope - analytic) > SAME * (abs(wide.slope) + abs(analytic)) + NOTHING:
            narrow = _differences(parameter, place, loss, middle, STEP / 2)
            allowed = KINK * (abs(wide.slope) + abs(narrow.slope)) + NOTHING
            is_smooth = abs(wide.slope - narrow.slope) <= allowed
            if not is_smooth or abs(wide.bend - 2 * narrow.bend) > allowed:
                continue
        pairs.append((analytic, wide.slope))
    if not pairs:
        return Compared(name, float("nan"), 0, len(places))
    values = torch.tensor(pairs, dtype=torch.double)
    norms = values.norm(dim=0).sum().item()
    distance = (values[:, 0] - values[:, 1]).norm().item()
    if norms >= NOTHING * len(pairs) ** 0.5:
        error = distance / norms
    else:
        error = 0.0 if values[:, 0].abs().max() < ROUNDING else float("nan")
    return Compared(name, error, len(pairs), len(places) - len(pairs))


@dataclass(frozen=True)
class _Differences:
    """Differences of the loss at one coordinate.

    Attributes:
        slope: The two-sided difference.
        bend: The difference of the one-sided ones: it halves with the step, except at a kink.
    """

    slope: float
    bend: float


@torch.no_grad()
def _differences(
    parameter: Tensor, place: int, loss: Callable[[], Tensor], middle: float, step: float
) -> _Differences:
    """Return differences of the loss at one coordinate, which is left unchanged."""
    index = tuple(int(part) for part in torch.unravel_index(torch.tensor(place), parameter.shape))
    before = parameter[index].item()
    losses = []
    for moved in (before - step, before + step):
        parameter[index] = moved
        losses.append(loss().item())
    parameter[index] = before
    below, above = losses
    return _Differences((above - below) / (2 * step), (above + below - 2 * middle) / step)
