"""Count the cost of a run in floating-point operations, by `training/flops.py`.

Unlike wall clock it is the same on every machine. It holds the forward and backward passes; data,
augmentation, penalties and the optimizer multiply no matrices.
"""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline import regularizers
from pipeline.config.run import RunConfig
from pipeline.config.streams import Streams
from pipeline.data.arrays import Arrays
from pipeline.models._randomness import restored_globals, seed_globals
from pipeline.models._standardized import Standardized
from pipeline.prediction.network import assemble
from pipeline.regularizers._noise import mode, noise_layers
from pipeline.training.flops import FlopCounter, counting


def counted(config: RunConfig, pool: Arrays, batch_size: int, updates: int) -> dict[str, Any]:
    """Return the cost of a run in operations.

    Counted on another network, once for all seeds, so that nothing of the run changes.

    Returns:
        `updates`; `training_flops` of all of them, forward and backward; `forward_flops` of one
        example at test; `uncounted`, the names of operations that both leave out.
    """
    unseeded = config.model_copy(update={"streams": Streams.of(0)}).model_dump_json()
    step, forward, uncounted = _flops(unseeded, pool.shape, pool.classes, batch_size)
    return {
        "updates": updates,
        "training_flops": updates * step,
        "forward_flops": forward,
        "uncounted": list(uncounted),
    }


@functools.lru_cache(maxsize=256)
def _flops(
    config: str, shape: tuple[int, ...], classes: int, batch_size: int
) -> tuple[int, int, tuple[str, ...]]:
    """Return the operations of a step and of one example's forward pass, and names of others."""
    settings = RunConfig.model_validate_json(config)
    network = assemble(settings, regularizers.build(settings.regularizers), shape, classes)
    images = torch.zeros(batch_size, *shape)
    forward = _forward(network, images[:1])
    step, counter = _expected_step(network, images)
    uncounted = tuple(sorted(forward.uncounted | counter.uncounted))
    return step, forward.flops, uncounted


def _expected_step(network: Standardized, images: Tensor) -> tuple[int, FlopCounter]:
    """Return the expected operations of a step, and the counter of one that skips nothing.

    What a layer skips is the difference to a step in which this layer alone skips everything.
    """
    chances = {layer: layer.survival for layer in noise_layers(network) if layer.survival < 1}
    for layer in chances:
        layer.survival = 1.0
    whole = _step(network, images)
    expected = float(whole.flops)
    for layer, chance in chances.items():
        layer.survival = 0.0
        expected -= (1 - chance) * (whole.flops - _step(network, images).flops)
        layer.survival = 1.0
    return round(expected), whole


def _step(network: Standardized, images: Tensor) -> FlopCounter:
    """Return the counter of a training step, the optimizer's part left out."""
    switched = mode(network, training=True, sampling=True)
    with switched, restored_globals():
        seed_globals(0, "cost")
        with counting() as counter:
            labels = torch.zeros(len(images), dtype=torch.int64)
            functional.cross_entropy(network(images), labels).backward()
    return counter


def _forward(network: Standardized, images: Tensor) -> FlopCounter:
    """Return the counter of a deterministic forward pass."""
    switched = mode(network, training=False, sampling=False)
    with torch.no_grad(), switched, restored_globals():
        seed_globals(0, "cost")
        with counting() as counter:
            network(images)
    return counter
