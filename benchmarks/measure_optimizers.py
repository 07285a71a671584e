"""A training step with each optimizer of the product over torch's own optimizer in a bare loop.

Bar: 1.02. Both train the digits network without batch norm on one batch of 30, from the same
weights, with the same values and the fused kernel where torch has one; ours has the two parameter
groups and the schedule of a run. Ratios of processor time of one thread: both alternate in turns of
ten steps (one for L-BFGS), 80 steps per pair; medians of eleven pairs after 60 warm-up steps. Adam
without bias correction, which torch has not, is measured over torch's Adam. Writes
benchmarks/results/optimizers.json.
"""

import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from pipeline import models, optimizers
from pipeline.config.run import Training
from pipeline.config.streams import Streams
from pipeline.execution.processes import keep_freed_memory
from pipeline.schedules._schedule import Course, with_warm_up
from pipeline.schedules.constant import Constant
from pipeline.training.task import Task

NETWORK = {
    "name": "resnet",
    "widths": (16, 32, 64),
    "blocks": 1,
    "hidden": 64,
    "grid": 2,
    "batch_norm": False,
}
PAIRS, TURNS, STEPS, BATCH, RATE = 11, 8, 10, 30, 1e-4
WARMING = 60
BAR = 1.02
ENDLESS = Course(updates=10**9, per_epoch=10**6)
BARE: dict[str, tuple[dict[str, Any], Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": ({}, torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "fused": True}),
    "adagrad": ({}, torch.optim.Adagrad, {"fused": True}),
    "rmsprop": ({}, torch.optim.RMSprop, {}),
    "adam": ({}, torch.optim.Adam, {"fused": True}),
    "adam, not corrected": (
        {"name": "adam", "bias_correction": False},
        torch.optim.Adam,
        {"fused": True},
    ),
    "adamw": ({}, torch.optim.AdamW, {"weight_decay": 0, "fused": True}),
    "lbfgs": ({}, torch.optim.LBFGS, {"line_search_fn": "strong_wolfe"}),
}
RESULT = Path(__file__).parent / "results" / "optimizers.json"


def ours(network: nn.Module, given: dict[str, Any]) -> tuple[torch.optim.Optimizer, Any]:
    """Return optimizer and scheduler as a run has them."""
    training = Training(learning_rate=RATE, optimizer=given, epochs=1, batch_size=BATCH)
    groups = Task(network, (), training, Streams.of(0)).groups()
    optimizer = optimizers.parse(given).build(groups, RATE)
    return optimizer, with_warm_up(Constant(), optimizer, ENDLESS, 0.0)


def stepping(
    network: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any, batch: tuple[Tensor, ...]
) -> Callable[[], None]:
    """Return a training step."""
    images, labels = batch
    network.train()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        return loss

    def step() -> None:
        optimizer.step(closure)
        scheduler.step()

    return step


def seconds(step: Callable[[], None], steps: int) -> float:
    """Return the processor time of one turn."""
    began = time.process_time()
    for _ in range(steps):
        step()
    return time.process_time() - began


def measured(name: str) -> dict[str, Any]:
    """Return the ratio, median, lowest and highest, and milliseconds of a step of torch's."""
    given, kind, values = BARE[name]
    torch.manual_seed(0)
    plain: nn.Module = models.build(NETWORK, (1, 8, 8), 10)
    if name != "lbfgs":  # torch's takes no other layout
        plain = plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    own = copy.deepcopy(plain)
    batch = torch.rand(BATCH, 1, 8, 8), torch.randint(10, (BATCH,))
    bare = kind(plain.parameters(), lr=RATE, **values)
    steps = (
        stepping(plain, bare, LambdaLR(bare, lambda update: 1.0), batch),
        stepping(own, *ours(own, {"name": name, **given}), batch),
    )
    length = 1 if name == "lbfgs" else STEPS
    for _ in range(WARMING // STEPS):
        for step in steps:
            seconds(step, length)
    pairs = [
        [
            sum(times)
            for times in zip(
                *([seconds(step, length) for step in steps] for _ in range(TURNS)), strict=True
            )
        ]
        for _ in range(PAIRS)
    ]
    ratios = [after / before for before, after in pairs]
    median = statistics.median(before for before, _ in pairs)
    return {
        "median_ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
        "torch_milliseconds": round(median / TURNS / length * 1000, 3),
    }


def main() -> None:
    """Measure every optimizer, and write the ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()
    results = {name: measured(name) for name in BARE}
    for name, result in results.items():
        print(name, json.dumps(result), flush=True)
    worst = max(result["median_ratio"] for result in results.values())
    content = {"bar": BAR, "highest_median_ratio": worst, "pairs": PAIRS, "optimizers": results}
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
