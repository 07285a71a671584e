"""A linear probe that passes every batch through the frozen trunk, over one on stored features.

Bar: at least 10. The network and the training of protocol mnist_5k, on random images; a learning
curve of two points. Processor time of whole runs, paired; median. Writes
benchmarks/results/features.json.
"""

import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline import models
from pipeline.config.run import RunConfig
from pipeline.config.start import RunStart
from pipeline.config.streams import Streams
from pipeline.data.arrays import Arrays
from pipeline.execution.processes import keep_freed_memory
from pipeline.training import trainer

REPETITIONS, BAR = 3, 10
SIZES = {"train_size": 1000, "validation_size": 500}
SHAPE, CLASSES = (1, 28, 28), 10
MODEL = {
    "name": "resnet",
    "widths": (8, 16, 32),
    "blocks": 3,
    "hidden": 64,
    "grid": 2,
    "batch_norm": True,
}
TRAINING = {
    "learning_rate": 0.05,
    "optimizer": {"name": "sgd"},
    "schedule": {"name": "one_cycle"},
    "epochs": 40,
    "batch_size": 50,
    "curve_points": 2,
}
RESULT = Path(__file__).parent / "results" / "features.json"


def seconds(pool: Arrays, parent: dict[str, Tensor]) -> float:
    """Return the processor time of a probe."""
    config = RunConfig(
        data={"dataset": "noise", **SIZES},
        model=MODEL,
        training=TRAINING,
        start=RunStart(train="head").model_dump(mode="json"),
        regularizers=(),
        streams=Streams.of(0),
    )
    began = time.process_time()
    trainer.train(config, pool, parent=parent)
    return time.process_time() - began


def main() -> None:
    """Measure pairs of runs and write the ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()
    generator = np.random.default_rng(0)
    count = sum(SIZES.values())
    images = generator.random((count, *SHAPE), dtype=np.float32)
    pool = Arrays(images, np.arange(count) % CLASSES, CLASSES)
    parent = models.build(MODEL, SHAPE, CLASSES).state_dict()
    once = trainer.head_alone  # type: ignore[attr-defined]
    all_ratios = []
    for _ in range(REPETITIONS + 1):
        stored = seconds(pool, parent)
        trainer.head_alone = lambda *_: ""  # type: ignore[attr-defined]
        all_ratios.append(seconds(pool, parent) / stored)
        trainer.head_alone = once  # type: ignore[attr-defined]
    ratios = all_ratios[1:]  # after a warm-up
    content = {
        "bar": BAR,
        "median_ratio": round(statistics.median(ratios), 1),
        "lowest": round(min(ratios), 1),
        "highest": round(max(ratios), 1),
        "epochs": TRAINING["epochs"],
        **SIZES,
        "repetitions": REPETITIONS,
    }
    RESULT.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content))


if __name__ == "__main__":
    main()
