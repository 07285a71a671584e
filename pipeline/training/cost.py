"""Count cost: floating-point operations of matrix products and convolutions.

Unlike wall clock it is the same on every machine.
"""

import functools

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from pipeline import regularizers
from pipeline.config.run import RunConfig
from pipeline.config.streams import Streams
from pipeline.data.arrays import Arrays
from pipeline.models._randomness import restored_globals
from pipeline.models._standardized import Standardized
from pipeline.prediction.network import assemble
from pipeline.regularizers._noise import NoiseLayer, mode


def counted(config: RunConfig, pool: Arrays, batch_size: int, updates: int) -> dict[str, int]:
    """Return the cost of a run in operations.

    Counted on another network, once for all seeds, so that nothing of the run changes.

    Returns:
        `updates`; `training_flops` of all of them, forward and backward; `forward_flops` of one
        example at test.
    """
    unseeded = config.model_copy(update={"streams": Streams.of(0)}).model_dump_json()
    step, forward = _flops(unseeded, pool.shape, pool.classes, batch_size)
    return {"updates": updates, "training_flops": updates * step, "forward_flops": forward}


@functools.lru_cache(maxsize=256)
def _flops(config: str, shape: tuple[int, ...], classes: int, batch_size: int) -> tuple[int, int]:
    """Return the operations of a training step and of a forward pass of one example."""
    settings = RunConfig.model_validate_json(config)
    network = assemble(settings, regularizers.build(settings.regularizers), shape, classes)
    return _step(network, shape, batch_size), _forward(network, shape, 1).get_total_flops()


def _step(network: Standardized, shape: tuple[int, ...], batch_size: int) -> int:
    """Return the expected operations of a step.

    Layers that skip operations are counted whole, then by their share: backward takes twice the
    operations of forward, and torch attributes backward operations to the wrong modules.
    """
    skipping = {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, NoiseLayer) and layer.share < 1
    }
    counter = FlopCounterMode(display=False)
    with mode(network, training=True, sampling=True), restored_globals(), counter:
        for layer in skipping.values():
            layer.sampling = False
        logits = network(torch.zeros(batch_size, *shape))
        functional.cross_entropy(logits, torch.zeros(batch_size, dtype=torch.int64)).backward()
    counts = _forward(network, shape, batch_size).get_flop_counts()
    root = type(network).__name__
    saved = sum(
        (1 - layer.share) * 3 * sum(counts.get(f"{root}.{name}", {}).values())
        for name, layer in skipping.items()
    )
    return round(float(counter.get_total_flops() - saved))


def _forward(network: Standardized, shape: tuple[int, ...], examples: int) -> FlopCounterMode:
    """Return the counter of a deterministic forward pass."""
    counter = FlopCounterMode(display=False)
    switched = mode(network, training=False, sampling=False)
    with torch.no_grad(), switched, restored_globals(), counter:
        network(torch.zeros(examples, *shape))
    return counter
