"""A training step with stochastic depth over the plain step of the digits network.

Bars at survival 0.5 with linear decay: a draw per batch at most 0.84; a draw per example at most
1.15 at 8x8, 0.86 at 28x28 and 0.80 at 32x32 in color; batches of 50. Computing branches and masking
them gives 1.0 or more. Ratios of processor time of one thread: plain and changed network alternate
in turns of ten steps, 40 steps per pair; medians of eleven pairs after 200 warm-up steps. All are
measured twice: as a process begins, where the C library returns freed memory to the system, and
as in a worker, which keeps it and so makes the plain step faster. Writes
benchmarks/results/stochastic_depth.json.
"""

import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from pipeline import models
from pipeline.execution.processes import keep_freed_memory
from pipeline.optimizers.sgd import start_momenta
from pipeline.regularizers._noise import noise_layers, seed_noise, switch
from pipeline.regularizers.stochastic_depth import StochasticDepth

NETWORK = {
    "name": "resnet",
    "widths": (8, 16, 32),
    "blocks": 3,
    "hidden": 64,
    "grid": 2,
    "batch_norm": True,
}
PAIRS, TURNS, STEPS, BATCH = 11, 4, 10, 50
WARMING = 200
BARS = (
    ("batch", (1, 8, 8), 0.84),
    ("batch", (1, 28, 28), 0.84),
    ("batch", (3, 32, 32), 0.84),
    ("example", (1, 8, 8), 1.15),
    ("example", (1, 28, 28), 0.86),
    ("example", (3, 32, 32), 0.80),
)
RESULT = Path(__file__).parent / "results" / "stochastic_depth.json"


def stepping(network: nn.Module, shape: tuple[int, ...]) -> Callable[[], None]:
    """Return a training step of the network on images of that shape."""
    images = torch.rand(BATCH, *shape).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH,))
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True
    )
    start_momenta(optimizer)
    switch(network, training=True, sampling=True)
    seed_noise(noise_layers(network), 0)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    """Return the processor time of one turn."""
    began = time.process_time()
    for _ in range(STEPS):
        step()
    return time.process_time() - began


def measured(mode: str, shape: tuple[int, ...]) -> dict[str, float]:
    """Return the ratio, median, lowest and highest, and milliseconds of a plain step."""
    plain: nn.Module = models.build(NETWORK, shape, 10).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    changed = copy.deepcopy(plain)
    StochasticDepth.model_validate({"mode": mode}).modify_model(changed)
    steps = stepping(plain, shape), stepping(changed, shape)
    for _ in range(WARMING // STEPS):  # each number of kept examples compiles its kernels
        seconds(steps[0]), seconds(steps[1])
    pairs = [
        [sum(times) for times in zip(*(map(seconds, steps) for _ in range(TURNS)), strict=True)]
        for _ in range(PAIRS)
    ]
    ratios = [after / before for before, after in pairs]
    return {
        "median_ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
        "plain_milliseconds": round(
            statistics.median(before for before, _ in pairs) / TURNS / STEPS * 1000, 2
        ),
    }


def main() -> None:
    """Measure every mode and shape, and write the ratios."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results = []
    for memory in ("given back", "kept"):
        if memory == "kept":
            keep_freed_memory()
        for mode, shape, bar in BARS:
            ratios = measured(mode, shape)
            results.append(
                {
                    "mode": mode,
                    "shape": list(shape),
                    "memory": memory,
                    "bar": bar,
                    **ratios,
                    "pairs": PAIRS,
                }
            )
            print(json.dumps(results[-1]), flush=True)
    RESULT.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
