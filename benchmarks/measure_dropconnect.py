"""A training step with DropConnect over the plain step of the digits network: forward, backward and update.

Bars: at most 1.30 with exact masks for every example on the head's linear layers, at most 1.05 with one mask a batch on the
convolutions. Processor time of one thread, so that other programs matter less; ratios are taken pair by pair, each in the
other order than the one before. `parts` takes the shared mask apart: the layer alone, then only drawing and
counting, or only multiplying. Writes benchmarks/results/dropconnect.json.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from pipeline import models
from pipeline.execution.processes import keep_freed_memory
from pipeline.regularizers.base import Regularizer, noise_layers, switch
from pipeline.regularizers.dropconnect import DropConnect, SharedLayer

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


class Untouched(SharedLayer):
    """Lets the convolutions see their own weights."""

    def sample(self, inputs: Tensor) -> Tensor:
        return inputs


class Drawing(SharedLayer):
    """Draws and counts its masks, and leaves the weights alone."""

    def sample(self, inputs: Tensor) -> Tensor:
        self._masks([module.weight for module in self.owners])
        return inputs


class Multiplying(SharedLayer):
    """Multiplies by the same masks again and again."""

    def _masks(self, weights: Sequence[Tensor]) -> list[Tensor]:
        if not hasattr(self, "ones"):
            self.ones = [torch.ones_like(weight) for weight in weights]
        return self.ones


def step(regularizers: Sequence[Regularizer], kind: type[SharedLayer] | None = None) -> Step:
    """One training step of a network of its own."""
    network = models.build(MODEL, (1, 8, 8), 10)
    for regularizer in regularizers:
        regularizer.modify_model(network)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for layer in noise_layers(network) if kind else []:
        layer.__class__ = kind  # a layer of the same state
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
    """Processor time of a few steps."""
    began = time.process_time()
    for _ in range(STEPS):
        once()
    return time.process_time() - began


def ratios(steps: dict[str, Step]) -> dict[str, list[float]]:
    """Each step over the plain one, pair by pair, after one round that warms up."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(PAIRS + 1):
        order = list(steps) if number % 2 else list(steps)[::-1]
        measured = {name: seconds(steps[name]) for name in order}
        for name in steps if number else ():
            found[name].append(measured[name] / measured["plain"])
    return found


def main() -> None:
    """Measures both forms and the parts of the shared one, and writes their ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()
    shared = (DropConnect(rate=0.5, where="convolution"),)
    forms = {"linear": step((DropConnect(rate=0.5),)), "convolution": step(shared)}
    kinds = {"layer": Untouched, "drawing": Drawing, "multiplying": Multiplying}
    parts = {name: step(shared, kind) for name, kind in kinds.items()}
    found = ratios({"plain": step(()), **forms, **parts})
    result = {
        **{
            name: {"bar": BARS[name], "median_ratio": round(statistics.median(found[name]), 3)}
            for name in forms
        },
        "parts": {name: round(statistics.median(found[name]), 3) for name in parts},
        "quartiles": {
            name: [round(cut, 3) for cut in statistics.quantiles(found[name], n=4)]
            for name in forms
        },
        "pairs": PAIRS,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
