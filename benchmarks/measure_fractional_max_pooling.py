"""A training step with random regions over a step with PyTorch's own kernel, forward and backward.

Bar: at most 1.00 at 8x8 and at 32x32 inputs, batch 50, channels_last, the digits network, one
thread. The kernel gets one offset per example for all its channels, as in the paper, and the same
output sizes. Ratios of processor time, by pairs in alternating order, median after a warm-up pair.
Also measured, without a bar: disjoint regions, and plain 2x2 pooling, whose later layers are
smaller. Writes benchmarks/results/fractional_max_pooling.json.
"""

import json
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline import models
from pipeline.execution.processes import keep_freed_memory
from pipeline.models._sites import pooling_layers
from pipeline.models._standardized import Standardized
from pipeline.regularizers._noise import switch
from pipeline.regularizers._regions import size
from pipeline.regularizers.fractional_max_pooling import FractionalMaxPooling

PAIRS = 15
BATCH = 50
RATIO = 1.41
MODEL = {
    "name": "resnet",
    "widths": (8, 16, 32),
    "blocks": 3,
    "hidden": 64,
    "grid": 2,
    "batch_norm": True,
}
STEPS = {8: 20, 32: 3}  # side of the images -> steps of one measurement
RESULT = Path(__file__).parent / "results" / "fractional_max_pooling.json"


class Kernel(nn.Module):
    """PyTorch's fractional max pooling: pseudorandom, overlapping."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, C, h, w) of inputs (N, C, H, W)."""
        examples, channels, height, width = inputs.shape
        samples = torch.rand(examples, 1, 2).expand(examples, channels, 2)
        output = (size(height, RATIO), size(width, RATIO))
        pooled: Tensor = functional.fractional_max_pool2d(
            inputs, 2, output, _random_samples=samples
        )
        return pooled


def network(kind: str, side: int) -> Standardized:
    """Return the digits network for images of `side` pixels; its pooling is of that kind."""
    torch.manual_seed(0)
    made = models.build(MODEL, (1, side, side), 10)
    if kind == "kernel":
        for name, _ in pooling_layers(made):
            made.set_submodule(name, Kernel())
    elif kind != "plain":
        FractionalMaxPooling(ratio=RATIO, overlapping=kind == "random").modify_model(made)
    switch(made, training=True, sampling=True)
    made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return made


def seconds(made: Standardized, images: Tensor, labels: Tensor, steps: int) -> float:
    """Return the processor time of `steps` forward and backward passes."""
    began = time.process_time()
    for _ in range(steps):
        made.zero_grad()
        functional.cross_entropy(made(images), labels).backward()
    return time.process_time() - began


def ratios(kind: str, side: int) -> list[float]:
    """Return the ratios of `kind` to the kernel, by pairs."""
    images = torch.rand(BATCH, 1, side, side).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH,))
    nets = {name: network(name, side) for name in (kind, "kernel")}
    values = []
    for pair in range(PAIRS + 1):
        order = (kind, "kernel") if pair % 2 else ("kernel", kind)
        taken = {name: seconds(nets[name], images, labels, STEPS[side]) for name in order}
        values.append(taken[kind] / taken["kernel"])
    return values[1:]


def main() -> None:
    """Measure pairs and write their ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()
    result: dict[str, object] = {"bar": 1.0, "pairs": PAIRS, "batch": BATCH, "ratio": RATIO}
    for side in STEPS:
        for kind in ("random", "disjoint", "plain"):
            values = ratios(kind, side)
            key = f"{kind}_over_kernel_{side}x{side}"
            result[key] = {
                "median": round(statistics.median(values), 3),
                "range": [round(min(values), 3), round(max(values), 3)],
            }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
