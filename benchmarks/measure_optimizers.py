"""A training step with each optimizer of the product over torch's own optimizer in a bare loop.

Bar: 1.02. Both train the digits network without batch norm on one batch of 30, from the same
weights, with the same values and the fused kernel where torch has one; ours has the two parameter
groups and the schedule of a run. Ratios of processor time of one thread, per evaluation of the
loss: L-BFGS takes several a step. Both alternate in turns of ten steps, 40 steps per pair; medians
of eleven pairs after 60 warm-up steps. Adam without bias correction, which torch has not, is
measured over torch's Adam. Writes benchmarks/results/optimizers.json.
"""

import copy
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from pipeline import models, optimizers
from pipeline.config.run import Training
from pipeline.config.streams import Streams
from pipeline.execution.processes import keep_freed_memory
from pipeline.models._standardized import Standardized
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
PAIRS, TURNS, STEPS, BATCH, RATE = 11, 4, 10, 30, 1e-4
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
    "lbfgs": (
        {"max_iter": 1},
        torch.optim.LBFGS,
        {"max_iter": 1, "max_eval": 25, "line_search_fn": "strong_wolfe"},
    ),
}
RESULT = Path(__file__).parent / "results" / "optimizers.json"


def groups(network: Standardized) -> list[dict[str, Any]]:
    """Return the parameter groups of a run."""
    training = Training(learning_rate=RATE, epochs=1, batch_size=BATCH)
    return Task(network, (), training, Streams.of(0)).groups()


def ours(network: Standardized, given: dict[str, Any]) -> tuple[torch.optim.Optimizer, Any]:
    """Return optimizer and scheduler as a run has them."""
    optimizer = optimizers.parse(given).build(groups(network), RATE)
    return optimizer, with_warm_up(Constant(), optimizer, ENDLESS, 0.0)


def stepping(
    network: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any, batch: tuple[Tensor, ...]
) -> Callable[[], int]:
    """Return a training step, which returns how often it has evaluated the loss."""
    images, labels = batch
    network.train()
    evaluations = 0

    def closure() -> float:
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        return cast(float, loss)  # torch takes the tensor

    def step() -> int:
        before = evaluations
        optimizer.step(closure)
        scheduler.step()
        return evaluations - before

    return step


def turn(step: Callable[[], int]) -> tuple[float, int]:
    """Return the processor time and the evaluations of one turn."""
    began = time.process_time()
    evaluations = sum(step() for _ in range(STEPS))
    return time.process_time() - began, evaluations


def per_evaluation(turns: Sequence[tuple[float, int]]) -> float:
    """Return seconds per evaluation."""
    return sum(time for time, _ in turns) / sum(number for _, number in turns)


def measured(name: str) -> dict[str, Any]:
    """Return the ratio, median, lowest and highest, and milliseconds of torch's own."""
    given, kind, values = BARE[name]
    torch.manual_seed(0)
    layout = torch.contiguous_format if name == "lbfgs" else torch.channels_last  # all it takes
    plain = models.build(NETWORK, (1, 8, 8), 10)
    plain.to(memory_format=layout)  # type: ignore[call-overload]
    network = copy.deepcopy(plain)
    batch = torch.rand(BATCH, 1, 8, 8), torch.randint(10, (BATCH,))
    # in our order: another one rounds the products of L-BFGS differently, and takes another path
    parameters = [parameter for group in groups(plain) for parameter in group["params"]]
    bare = kind(parameters, lr=RATE, **values)
    steps = (
        stepping(plain, bare, LambdaLR(bare, lambda update: 1.0), batch),
        stepping(network, *ours(network, {"name": name, **given}), batch),
    )
    for _ in range(WARMING // STEPS):
        turn(steps[0]), turn(steps[1])
    pairs = []
    for _ in range(PAIRS):
        turns = [(turn(steps[0]), turn(steps[1])) for _ in range(TURNS)]
        pairs.append([per_evaluation(side) for side in zip(*turns, strict=True)])
    ratios = [after / before for before, after in pairs]
    median = statistics.median(before for before, _ in pairs)
    return {
        "median_ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
        "torch_milliseconds": round(median * 1000, 3),
    }


def main() -> None:
    """Measure every optimizer, and write the ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()
    results = {}
    for name in BARE:
        results[name] = measured(name)
        print(name, json.dumps(results[name]), flush=True)
    worst = max(result["median_ratio"] for result in results.values())
    content = {"bar": BAR, "highest_median_ratio": worst, "pairs": PAIRS, "optimizers": results}
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
