"""Count the cost of a run in floating-point operations, by `training/flops.py`.

Unlike wall clock it is the same on every machine. It holds the forward and backward passes; data,
augmentation, penalties and the optimizer multiply no matrices.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline import regularizers
from pipeline.config.run import RunConfig
from pipeline.config.streams import Streams
from pipeline.data.arrays import Arrays
from pipeline.models._randomness import restored_globals, seed_globals
from pipeline.models._residuals import Gate
from pipeline.models._standardized import Standardized
from pipeline.prediction.network import assemble
from pipeline.regularizers._noise import mode
from pipeline.training.features import features_of
from pipeline.training.flops import FlopCounter, unfused

VARYING = "operations that the network skips at random"
DRAWS = 8  # of a user's network, to see whether it skips any


def counted(
    config: RunConfig, pool: Arrays, batch_size: int, updates: int, passes: int, head: str = ""
) -> dict[str, Any]:
    """Return the cost of a run in operations.

    Counted on another network, once for all seeds, so that nothing of the run changes.

    Args:
        config: The settings of the run.
        pool: The development examples.
        batch_size: The number of images in a batch.
        updates: The number of updates.
        passes: How often loss and gradient of a batch were computed, once per update except by
            optimizers with a line search.
        head: The layer that was trained on features, which were computed once; "" if none was.

    Returns:
        `updates`; `training_flops` of all passes, forward and backward; `forward_flops` of one
        example at test; `uncounted`, the names of operations that both leave out.
    """
    unseeded = config.model_copy(update={"streams": Streams.of(0)}).model_dump_json()
    step, forward, uncounted = _flops(unseeded, pool.shape, pool.classes, batch_size, head)
    features = config.data["train_size"] * forward if head else 0
    return {
        "updates": updates,
        "training_flops": passes * step + features,
        "forward_flops": forward,
        "uncounted": list(uncounted),
    }


@functools.lru_cache(maxsize=256)
def _flops(
    config: str, shape: tuple[int, ...], classes: int, batch_size: int, head: str
) -> tuple[int, int, tuple[str, ...]]:
    """Return the operations of a step and of one example's forward pass, and names of others."""
    settings = RunConfig.model_validate_json(config)
    network = assemble(settings, regularizers.build(settings.regularizers), shape, classes)
    images = torch.zeros(batch_size, *shape)
    forward = _forward(network, images[:1])
    if head:
        images = features_of(network, head, images)
        network.head = head
    step, uncounted = _expected_step(network, images)
    return step, forward.flops, tuple(sorted(forward.uncounted | uncounted))


def _expected_step(network: Standardized, images: Tensor) -> tuple[int, set[str]]:
    """Return the expected operations of a training step, and names of operations it leaves out.

    Every branch that may be skipped is computed, and counted by its chance. The optimizer's part of
    the step is left out.
    """
    counter = FlopCounter()
    gates = [module for module in network.modules() if isinstance(module, Gate)]
    chances = [gate.survival for gate in gates]
    for number, gate in enumerate(gates):
        gate.survival = 1.0
        gate.branch = counter.attributed(number, gate.branch)
    labels = torch.zeros(len(images), dtype=torch.int64)
    with _counting(network, counter, training=True):
        functional.cross_entropy(network(images), labels).backward()
    saved = sum((1 - chance) * counter.parts[number] for number, chance in enumerate(chances))
    varying = {VARYING} if network.probe and _varies(network, images[:2]) else set()
    return round(counter.flops - saved), counter.uncounted | varying


def _varies(network: Standardized, images: Tensor) -> bool:
    """Return whether a user's network itself computes more or less by what it draws."""
    passes = [_forward(network, images, training=True, seed=seed) for seed in range(DRAWS)]
    return len({counter.flops for counter in passes}) > 1


def _forward(
    network: Standardized, images: Tensor, training: bool = False, seed: int = 0
) -> FlopCounter:
    """Return the counter of a forward pass, with noise in training."""
    counter = FlopCounter()
    with torch.no_grad(), _counting(network, counter, training, seed):
        network(images)
    return counter


@contextmanager
def _counting(
    network: Standardized, counter: FlopCounter, training: bool, seed: int = 0
) -> Iterator[None]:
    """Count what runs inside; the network's own draws are those of a seed."""
    switched = mode(network, training=training, sampling=training)
    with switched, restored_globals():
        seed_globals(seed, "cost")
        with unfused(), counter:
            yield
