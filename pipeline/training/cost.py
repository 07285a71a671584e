"""Counted cost: floating-point operations of matrix products and convolutions.

Separate from wall clock, which differs from machine to machine and has no place in a report that must be
the same twice.
"""

import functools

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from pipeline import regularizers
from pipeline.config.run import RunConfig
from pipeline.config.streams import Streams
from pipeline.data.arrays import Arrays
from pipeline.models._standardized import Standardized
from pipeline.prediction.network import assemble
from pipeline.regularizers.base import NoiseLayer, mode


def counted(config: RunConfig, pool: Arrays, batch_size: int, updates: int) -> dict[str, int]:
    """`updates`, `training_flops` of all of them (forward and backward), `forward_flops` of one example at test.

    Counted on a network of its own, once for all seeds, so that nothing of the run is touched.
    """
    unseeded = config.model_copy(update={"streams": Streams.of(0)}).model_dump_json()
    step, forward = _flops(unseeded, pool.shape, pool.classes, batch_size)
    return {"updates": updates, "training_flops": updates * step, "forward_flops": forward}


@functools.lru_cache(maxsize=256)
def _flops(config: str, shape: tuple[int, ...], classes: int, batch_size: int) -> tuple[int, int]:
    """Operations of (one training step, one deterministic forward pass of one example)."""
    settings = RunConfig.model_validate_json(config)
    network = assemble(settings, regularizers.build(settings.regularizers), shape, classes)
    return _step(network, shape, batch_size), _forward(network, shape)


def _step(network: Standardized, shape: tuple[int, ...], batch_size: int) -> int:
    """The expected operations of a step: what is skipped at times is counted whole, then by its share.

    Backward takes twice the operations of forward; which module a backward operation is of, torch tells wrongly.
    """
    skipping = {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, NoiseLayer) and layer.share < 1
    }
    with mode(network, training=True, sampling=True), FlopCounterMode(display=False) as counter:
        for layer in skipping.values():
            layer.sampling = False
        logits = network(torch.zeros(batch_size, *shape))
        functional.cross_entropy(logits, torch.zeros(batch_size, dtype=torch.int64)).backward()
    with (
        torch.no_grad(),
        mode(network, training=False, sampling=False),
        FlopCounterMode(display=False) as forward,
    ):
        network(torch.zeros(batch_size, *shape))
    counts = {
        name: sum(operations.values()) for name, operations in forward.get_flop_counts().items()
    }
    root = type(network).__name__
    saved = sum(
        (1 - layer.share) * 3 * counts[f"{root}.{name}"] for name, layer in skipping.items()
    )
    return round(float(counter.get_total_flops() - saved))


@torch.no_grad()
def _forward(network: Standardized, shape: tuple[int, ...]) -> int:
    with mode(network, training=False, sampling=False), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape))
    return int(counter.get_total_flops())
