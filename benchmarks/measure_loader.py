"""Time of drawing the batches of a run over the time of the whole run.

Bars: at most 3 % on 8x8 digits, 1 % on 28x28 images, each trained as its protocol says. Both are
timed in one process, one after the other. Writes benchmarks/results/loader.json.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import torch
from measure_run import development_pool, record, settings
from torch.nn import functional

from pipeline.config.run import Data, RunConfig
from pipeline.config.streams import Streams
from pipeline.data.arrays import Arrays
from pipeline.data.loader import Batches
from pipeline.data.splits import train_and_validation
from pipeline.prediction.network import as_images
from pipeline.training.trainer import train

CASES = {  # protocol, pairs, bar
    "digits": ("digits", 5, 0.03),
    "28x28": ("mnist_5k", 3, 0.01),
    "28x28, bytes": ("fashion_mnist_resnet", 3, 0.01),
}
RESULT = Path(__file__).parent / "results" / "loader.json"


def draw_batches(config: RunConfig, pool: Arrays) -> float:
    """Return the seconds of drawing every batch of a run."""
    fit, _ = train_and_validation(pool, Data(**config.data), config.streams.split)
    targets = functional.one_hot(torch.from_numpy(fit.labels), pool.classes).float()
    batches = Batches(
        as_images(fit.images), targets, config.training["batch_size"], config.streams.order
    )
    began = time.perf_counter()
    for epoch in range(config.training["epochs"]):
        batches.epoch = epoch
        for _ in batches:
            pass
    return time.perf_counter() - began


def run(config: RunConfig, pool: Arrays) -> float:
    """Return the seconds of the run."""
    began = time.perf_counter()
    train(config, pool)
    return time.perf_counter() - began


def case(protocol: str, pairs: int, bar: float) -> dict[str, Any]:
    """Return the share of the baseline of a protocol."""
    pool = development_pool(settings(protocol)["data"]["dataset"])
    configs = [
        RunConfig(**settings(protocol), regularizers=(), streams=Streams.of(seed))
        for seed in range(pairs)
    ]
    shares = [draw_batches(config, pool) / run(config, pool) for config in configs]
    return {
        "bar": bar,
        "median_share": round(statistics.median(shares), 5),
        "highest": round(max(shares), 5),
        "pairs": pairs,
    }


if __name__ == "__main__":
    record(case, CASES, RESULT)
