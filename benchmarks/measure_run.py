"""One run's training time over a bare PyTorch loop with the same network, batches and number of evaluations.

Bar: at most 1.15. Ratios are taken pair by pair in one process (the machine's speed drifts), median of twenty
pairs after one that warms up, each in the other order than the one before. Writes benchmarks/results/run.json.
"""

import functools
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from pipeline import data
from pipeline.config.fingerprint import RunConfig
from pipeline.config.streams import Streams
from pipeline.config.studies import read_experiment
from pipeline.data.arrays import Arrays
from pipeline.data.splits import hold_out, train_and_validation
from pipeline.execution.catalogue import catalogue
from pipeline.execution.processes import keep_freed_memory
from pipeline.prediction.network import as_images, assemble
from pipeline.training.trainer import train

PAIRS = 20
RESULT = Path(__file__).parent / "results" / "run.json"


def bare(config: RunConfig, pool: Arrays) -> float:
    """Seconds of a plain training loop: what a user would write without any framework."""
    training = config.training
    fit, held = train_and_validation(pool, config.data["train_size"], 0.0, config.streams.split)
    images, labels, held_images, held_labels = (
        as_images(fit.images),
        torch.from_numpy(fit.labels),
        as_images(held.images),
        torch.from_numpy(held.labels),
    )
    network = assemble(config, (), pool.shape, pool.classes)
    network.fit(images)
    began = time.perf_counter()
    size, epochs = training["batch_size"], training["epochs"]
    optimizer = torch.optim.SGD(network.parameters(), lr=training["learning_rate"], momentum=0.9, nesterov=True, fused=True)
    schedule = OneCycleLR(
        optimizer, training["learning_rate"], total_steps=epochs * (len(images) // size), cycle_momentum=False
    )
    for epoch in range(epochs):
        network.train()
        order = torch.randperm(len(images))
        for batch in order.split(size):
            loss = functional.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if (epoch + 1) % (epochs // training["curve_points"]) == 0:
            score(network, images, labels), score(network, held_images, held_labels)
    return time.perf_counter() - began


@torch.no_grad()
def score(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Loss and accuracy in evaluation mode."""
    network.eval()
    logits = torch.cat([network(chunk) for chunk in images.split(500)])
    return float(functional.cross_entropy(logits, labels)), float((logits.argmax(1) == labels).float().mean())


@functools.cache
def digits_pool() -> Arrays:
    """The development pool of the digits."""
    arrays = data.read("digits")
    return arrays.take(hold_out(arrays.labels, 0.4)[0])


@functools.cache
def digits_settings() -> dict[str, Any]:
    """The settings of the digits protocol."""
    root = Path(__file__).resolve().parent.parent
    return read_experiment("digits", catalogue(), root).protocol.settings()


def measured(config: RunConfig, pool: Arrays, ours_first: bool) -> tuple[float, float]:
    """Seconds of (ours, bare)."""
    if ours_first:
        return train(config, pool).seconds or 0.0, bare(config, pool)
    plain = bare(config, pool)
    return train(config, pool).seconds or 0.0, plain


def main() -> None:
    """Measures pairs and writes their ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()
    pool, settings = digits_pool(), digits_settings()
    pairs = []
    for seed in range(PAIRS + 1):
        config = RunConfig(**settings, regularizers=(), streams=Streams.of(seed))
        pairs.append(measured(config, pool, ours_first=bool(seed % 2)))
    ratios = [ours / plain for ours, plain in pairs[1:]]
    result = {
        "bar": 1.15,
        "median_ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
        "median_seconds": round(statistics.median(ours for ours, _ in pairs[1:]), 3),
        "median_bare_seconds": round(statistics.median(plain for _, plain in pairs[1:]), 3),
        "pairs": PAIRS,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
