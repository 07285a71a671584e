"""Recompute what a network keeps of its training images, once its weights were replaced."""

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn

from pipeline.data.loader import ImageTensor, as_fractions
from pipeline.models._randomness import restored_globals, seed_globals
from pipeline.regularizers._noise import mode

Buffers = dict[str, Tensor]
NORMS = nn.modules.batchnorm._BatchNorm
FORWARDS = (NORMS.forward, nn.SyncBatchNorm.forward)  # these take no momentum as a cumulative mean
TOLERANCE = 1e-3  # of rates, which are differences of values in single precision


@dataclass(frozen=True)
class _Kinds:
    """What the buffers of a network's own are, by their names.

    Attributes:
        rates: Statistics of batches, with the share of the old value that an update keeps.
        counts: Single numbers whose change does not depend on the images: steps, schedules.
        others: Whatever else a pass changes, such as codebooks and the vectors of power iterations.
    """

    rates: Mapping[str, float]
    counts: Sequence[str]
    others: Sequence[str]


def other_buffers(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield name and value of all buffers but those of torch's batch norms that update theirs.

    Args:
        network: A network.
    """
    for name, value in network.named_buffers():
        if not _is_cumulative(network.get_submodule(_owner(name))):
            yield name, value


def _is_cumulative(module: nn.Module) -> TypeGuard[nn.modules.batchnorm._BatchNorm]:
    """Return whether a module is a batch norm whose statistics a pass may sum up anew.

    Not one with a forward of its own, nor one that never updates them, by a momentum of 0.
    """
    return isinstance(module, NORMS) and type(module).forward in FORWARDS and module.momentum != 0


@torch.no_grad()
def refresh_statistics(
    network: nn.Module, images: ImageTensor, batch_size: int, averages: Mapping[str, Tensor]
) -> None:
    """Recompute the buffers that training passes change, for the present weights.

    One pass in whole batches, without noise. Statistics of batches, as of batch norms, become the
    means over these batches: those of torch's batch norms, and buffers that an update moves by a
    fixed rate toward a statistic. Counts are afterwards as before. Other buffers start at their
    averages and change as in training. What this pass does not update, since it is in evaluation
    mode or never called, is kept.

    Args:
        network: The network, changed in place.
        images: (N, channels, height, width).
        batch_size: The number of images in a batch.
        averages: Averages of buffers along training, by name.
    """
    with mode(network, training=True, sampling=False), restored_globals():
        device = next(network.parameters()).device
        kinds = _kinds(network, as_fractions(images[:batch_size].to(device)))
        _load(network, {name: averages[name] for name in kinds.others if name in averages})
        buffers = dict(other_buffers(network))
        counts = {name: buffers[name].clone() for name in kinds.counts}
        with _cumulative_norms(network):
            sums = _sums(network, _batches(images, batch_size, device), kinds, counts)
        _load(network, counts)
    # an update from zero is the share 1 - rate of the statistic of a batch
    number = len(images) // batch_size
    shares = {name: (1 - rate) * number for name, rate in kinds.rates.items()}
    _load(network, {name: value / shares[name] for name, value in sums.items()})


def _batches(images: ImageTensor, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """Yield the whole batches of the images, as fractions, on a device."""
    whole = len(images) // batch_size
    for batch in itertools.islice(images.split(batch_size), whole):
        yield as_fractions(batch.to(device))


@contextlib.contextmanager
def _cumulative_norms(network: nn.Module) -> Iterator[None]:
    """Let torch's batch norms take the means over the batches that pass inside this context.

    A norm that no batch reached keeps its statistics, and so does one whose momentum the network
    sets in its forward, since its statistics are then no means.
    """
    norms = [
        module
        for module in network.modules()
        if _is_cumulative(module) and module.running_mean is not None
    ]
    momenta = [norm.momentum for norm in norms]
    before = [{key: value.clone() for key, value in norm.named_buffers()} for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    yield
    for norm, momentum, buffers in zip(norms, momenta, before, strict=True):
        is_set_by_network = norm.momentum is not None
        norm.momentum = momentum
        if is_set_by_network or not norm.num_batches_tracked:
            norm.load_state_dict(buffers, strict=False)


def _sums(
    network: nn.Module, batches: Iterable[Tensor], kinds: _Kinds, counts: Mapping[str, Tensor]
) -> Buffers:
    """Return the sums of the updates that batches make from statistics of zero, by buffer."""
    owners = {_owner(name) for name in kinds.rates}
    # a rate may depend on these counts, as in a cumulative mean
    steady = {name: value for name, value in counts.items() if _owner(name) in owners}
    buffers = dict(other_buffers(network))
    sums = {name: torch.zeros_like(buffers[name]) for name in kinds.rates}
    seed_globals(0, "statistics")
    for batch in batches:
        _load(network, {name: torch.zeros_like(value) for name, value in sums.items()})
        _logits(network, batch)
        after = dict(other_buffers(network))
        sums = {name: value + after[name] for name, value in sums.items()}
        _load(network, steady)
    return sums


def _kinds(network: nn.Module, images: Tensor) -> _Kinds:
    """Return the kinds of a network's own buffers; leave the buffers as they are."""
    start = {name: value.clone() for name, value in network.named_buffers()}
    names = [name for name, _ in other_buffers(network)]
    logits, after = _pass(network, images, start)
    changed = [name for name in names if not _equal(after[name], start[name])]
    # a norm would hide another scale
    _, of_others = _pass(network, images.square().flip(-1), start)
    counts = [
        name for name in names if start[name].numel() == 1 and _equal(after[name], of_others[name])
    ]
    rates: dict[str, float] = {}
    left = [name for name in changed if name not in counts]
    for owner in dict.fromkeys(map(_owner, left)):
        mine = [name for name in left if _owner(name) == owner]
        rates |= _rates(network, images, start, mine, (logits, after))
    return _Kinds(rates, counts, [name for name in names if name not in (*counts, *rates)])


def _rates(
    network: nn.Module,
    images: Tensor,
    start: Buffers,
    names: Sequence[str],
    seen: tuple[Tensor, Buffers],
) -> dict[str, float]:
    """Return the share of the old value that an update keeps, of the buffers of one module.

    They are statistics of batches if that share is the same for all their elements, whatever their
    values, and if nothing else in a training pass depends on these. {} if one is none.
    """
    logits, after = seen
    if not all(start[name].is_floating_point() for name in names):
        return {}
    rates: list[dict[str, float]] = []
    for shift in (1, 3):
        moved = {name: start[name] + shift for name in names}
        shifted_logits, shifted = _pass(network, images, start | moved)
        others = [name for name in after if name not in names]
        if not all(_equal(shifted[name], after[name]) for name in others):
            return {}
        if not _equal(shifted_logits, logits):
            return {}
        shares = {name: (shifted[name] - after[name]) / shift for name in names}
        rates.append({name: float(share.mean()) for name, share in shares.items()})
        means = rates[-1]
        if any(float((shares[name] - means[name]).abs().max()) > TOLERANCE for name in names):
            return {}
    once, again = rates
    is_fixed = all(math.isclose(once[name], again[name], abs_tol=TOLERANCE) for name in names)
    is_moving = all(TOLERANCE < rate < 1 - TOLERANCE for rate in again.values())
    return again if is_fixed and is_moving else {}


def _pass(network: nn.Module, images: Tensor, start: Buffers) -> tuple[Tensor, Buffers]:
    """Return logits and buffers after a training pass from `start`, to which they return."""
    initial = {name: value.clone() for name, value in network.named_buffers()}
    _load(network, start)
    seed_globals(0, "statistics")
    logits = _logits(network, images)
    after = {name: value.clone() for name, value in network.named_buffers()}
    _load(network, initial)
    return logits, after


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of a pass; weights that it writes, as a clamp does, are as before."""
    before = [(parameter, parameter.clone()) for parameter in network.parameters()]
    logits: Tensor = network(images)
    for parameter, value in before:
        parameter.copy_(value)
    return logits


def _load(network: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    for name, value in buffers.items():
        buffers_there = network.get_submodule(_owner(name))._buffers
        key = name.rpartition(".")[2]
        held = buffers_there[key]
        if held is not None and held.shape == value.shape:
            held.copy_(value)  # a tied buffer stays so
        else:
            buffers_there[key] = value.clone()


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or not one.is_floating_point():
        return torch.equal(one, other)
    return torch.allclose(one, other, equal_nan=True)
