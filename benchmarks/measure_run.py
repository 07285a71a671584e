"""Time of a run over a bare PyTorch loop with the same network, batches and evaluations.

Bars: at most 1.10 on 8x8 digits, 1.02 on 28x28 images, each trained as its protocol says. Ratios
are taken pair by pair in one process, since the speed of a machine drifts, in alternating order;
median after a warm-up pair. Writes benchmarks/results/run.json.
"""

import functools
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from pipeline import regularizers
from pipeline.config.run import Data, RunConfig
from pipeline.config.streams import Streams
from pipeline.data import sources as data
from pipeline.data.arrays import Arrays
from pipeline.data.splits import hold_out, train_and_validation
from pipeline.execution.processes import keep_freed_memory
from pipeline.optimizers.sgd import start_momenta
from pipeline.planning.studies import read_experiment
from pipeline.prediction.members import by_rule
from pipeline.prediction.network import as_images, assemble
from pipeline.regularizers._noise import mode
from pipeline.regularizers._regularizer import Regularizer
from pipeline.training.trainer import train

CASES = {"digits": ("digits", 20, 1.10), "28x28": ("mnist_5k", 5, 1.02)}  # protocol, pairs, bar
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "run.json"


def bare(config: RunConfig, pool: Arrays) -> float:
    """Return the seconds of a training loop without framework, and of scoring by the test rule."""
    training, chosen = config.training, regularizers.build(config.regularizers)
    fit, held = train_and_validation(pool, Data(**config.data), config.streams.split)
    images, labels, held_images, held_labels = (
        as_images(fit.images),
        torch.from_numpy(fit.labels),
        as_images(held.images),
        torch.from_numpy(held.labels),
    )
    network = assemble(config, chosen, pool.shape, pool.classes)
    network.fit(images)
    targets = functional.one_hot(labels, pool.classes).float()
    began = time.perf_counter()
    size, epochs = training["batch_size"], training["epochs"]
    optimizer = torch.optim.SGD(
        network.parameters(), lr=training["learning_rate"], momentum=0.9, nesterov=True, fused=True
    )
    start_momenta(optimizer)
    schedule = OneCycleLR(
        optimizer,
        training["learning_rate"],
        total_steps=epochs * (len(images) // size),
        cycle_momentum=False,
    )
    for epoch in range(epochs):
        with mode(network, training=True, sampling=True):
            for batch in torch.randperm(len(images)).split(size):
                loss = _loss(network, chosen, images[batch], targets[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        if (epoch + 1) % -(-epochs // training["curve_points"]) == 0:
            for part, answers in ((images, labels), (held_images, held_labels)):
                score(network, cast(Tensor, part), answers)
    by_rule(network, held_images, regularizers.test_rule(chosen), 0)
    return time.perf_counter() - began


def _loss(
    network: torch.nn.Module,
    chosen: Sequence[Regularizer],
    inputs: torch.Tensor,
    targets: torch.Tensor,
) -> Any:
    for regularizer in chosen:
        generator = torch.Generator().manual_seed(0)
        inputs, targets = regularizer.modify_batch(inputs, targets, generator)
    return functional.cross_entropy(network(inputs), targets)


@torch.no_grad()
def score(
    network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor
) -> tuple[float, float]:
    """Return loss and accuracy in evaluation mode, without noise."""
    with mode(network, training=False, sampling=False):
        logits = torch.cat([network(chunk) for chunk in images.split(500)])
    return float(functional.cross_entropy(logits, labels)), float(
        (logits.argmax(1) == labels).float().mean()
    )


@functools.cache
def development_pool(dataset: str) -> Arrays:
    """Return the development pool of a dataset."""
    arrays = data.read(dataset, {}).pool
    return arrays.take(hold_out(arrays.labels, 0.4)[0])


@functools.cache
def settings(protocol: str) -> dict[str, Any]:
    """Return the settings of a protocol."""
    return read_experiment(protocol, ROOT).protocol.settings()


def measured(config: RunConfig, pool: Arrays, ours_first: bool) -> tuple[float, float]:
    """Return the seconds of (ours, bare)."""
    if ours_first:
        return _ours(config, pool), bare(config, pool)
    plain = bare(config, pool)
    return _ours(config, pool), plain


def _ours(config: RunConfig, pool: Arrays) -> float:
    """Return the seconds of a run, from its settings to its results in memory."""
    began = time.perf_counter()
    train(config, pool)
    return time.perf_counter() - began


def case(protocol: str, pairs: int, bar: float) -> dict[str, Any]:
    """Return the ratio of the baseline of a protocol."""
    pool, rows = development_pool(protocol), []
    for seed in range(pairs + 1):
        config = RunConfig(**settings(protocol), regularizers=(), streams=Streams.of(seed))
        rows.append(measured(config, pool, ours_first=bool(seed % 2)))
    ratios = [ours / plain for ours, plain in rows[1:]]
    return {
        "bar": bar,
        "median_ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
        "median_seconds": round(statistics.median(ours for ours, _ in rows[1:]), 3),
        "median_bare_seconds": round(statistics.median(plain for _, plain in rows[1:]), 3),
        "pairs": pairs,
    }


def record(
    measure: Callable[..., dict[str, Any]], cases: Mapping[str, tuple[Any, ...]], target: Path
) -> None:
    """Measure every case with the settings of a worker; write and print the results."""
    torch.set_num_threads(1)
    keep_freed_memory()
    result = {name: measure(*given) for name, given in cases.items()}
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    record(case, CASES, RESULT)
