"""A training step with DropConnect over the plain step of the digits network.

Bars: at most 1.30 with exact masks for every example on the linear layers of the head, at most 1.05
with one mask per batch on the convolutions. A step is forward, backward and update, in processor
time of one thread; ratios are taken pair by pair in alternating order. `parts` splits the shared
mask: the layer alone, with drawing and counting, with multiplying. Writes
benchmarks/results/dropconnect.json.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from pipeline import models
from pipeline.execution.processes import keep_freed_memory
from pipeline.regularizers._noise import layers_of, switch
from pipeline.regularizers._regularizer import Regularizer
from pipeline.regularizers.dropconnect import ConvolutionsLayer, DropConnect

PAIRS, STEPS, BATCH = 60, 5, 50
MODEL = {
    "name": "resnet",
    "widths": (8, 16, 32),
    "blocks": 3,
    "hidden": 64,
    "grid": 2,
    "batch_norm": True,
}
BARS = {"linear": 1.30, "convolution": 1.05}
RESULT = Path(__file__).parent / "results" / "dropconnect.json"
Step = Callable[[], None]


def untouched(layer: ConvolutionsLayer) -> None:
    """Let the convolutions keep their own weights."""
    layer.sample = lambda inputs: inputs  # type: ignore[method-assign]


def drawing(layer: ConvolutionsLayer) -> None:
    """Draw and count masks, and leave the weights alone."""

    def sample(inputs: Tensor) -> Tensor:
        layer._masks([cast(Tensor, module.weight) for module in layer.owners])
        return inputs

    layer.sample = sample  # type: ignore[method-assign]


def multiplying(layer: ConvolutionsLayer) -> None:
    """Multiply by the same masks every time."""
    ones = [torch.ones_like(cast(Tensor, module.weight)) for module in layer.owners]
    layer._masks = lambda weights: ones  # type: ignore[method-assign]


def step(
    regularizers: Sequence[Regularizer], part: Callable[[ConvolutionsLayer], None] | None = None
) -> Step:
    """Return one training step of a new network, with a part of the layer alone if given."""
    network = models.build(MODEL, (1, 8, 8), 10)
    for regularizer in regularizers:
        regularizer.modify_model(network)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if part:
        for layer in layers_of(network, ConvolutionsLayer):
            part(layer)
    switch(network, training=True, sampling=True)
    images, labels = torch.rand(BATCH, 1, 8, 8), torch.randint(0, 10, (BATCH,))
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.05, momentum=0.9, nesterov=True, fused=True
    )

    def once() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return once


def seconds(once: Step) -> float:
    """Return the processor time of a few steps."""
    began = time.process_time()
    for _ in range(STEPS):
        once()
    return time.process_time() - began


def ratios(steps: dict[str, Step]) -> dict[str, list[float]]:
    """Return the ratio of each step to the plain one, by pairs, after a warm-up round."""
    values: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(PAIRS + 1):
        order = list(steps) if number % 2 else list(steps)[::-1]
        measured = {name: seconds(steps[name]) for name in order}
        for name in steps if number else ():
            values[name].append(measured[name] / measured["plain"])
    return values


def main() -> None:
    """Measure both forms and the parts of the shared one, and write their ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()
    shared = (DropConnect(rate=0.5, where="convolution"),)
    forms = {"linear": step((DropConnect(rate=0.5),)), "convolution": step(shared)}
    kinds = {"layer": untouched, "drawing": drawing, "multiplying": multiplying}
    parts = {name: step(shared, part) for name, part in kinds.items()}
    values = ratios({"plain": step(()), **forms, **parts})
    result = {
        **{
            name: {"bar": BARS[name], "median_ratio": round(statistics.median(values[name]), 3)}
            for name in forms
        },
        "parts": {name: round(statistics.median(values[name]), 3) for name in parts},
        "quartiles": {
            name: [round(cut, 3) for cut in statistics.quantiles(values[name], n=4)]
            for name in forms
        },
        "pairs": PAIRS,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
