"""A run whose learning curve has several points over the same run scored at its end alone.

A point scores all training and validation examples and measures the norms of every layer. The
network, the data and the training of protocol digits, which has 10 points in 60 epochs. Processor
time of whole runs of one thread, paired; medians. Writes benchmarks/results/curves.json.
"""

import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from pipeline.config.run import RunConfig
from pipeline.config.streams import Streams
from pipeline.data import sources
from pipeline.data.arrays import Arrays
from pipeline.data.splits import hold_out
from pipeline.execution.processes import keep_freed_memory
from pipeline.training.trainer import train

PAIRS, EPOCHS = 5, 60
POINTS = (10, EPOCHS)
SIZES = {"train_size": 150, "label_noise": 0.0, "test_fraction": 0.4}
MODEL = {
    "name": "resnet",
    "widths": (16, 32, 64),
    "blocks": 1,
    "hidden": 64,
    "grid": 2,
    "batch_norm": True,
}
TRAINING = {
    "learning_rate": 0.05,
    "optimizer": {"name": "sgd"},
    "schedule": {"name": "one_cycle"},
    "epochs": EPOCHS,
    "batch_size": 30,
}
RESULT = Path(__file__).parent / "results" / "curves.json"


def seconds(pool: Arrays, points: int) -> float:
    """Return the processor time of a run."""
    config = RunConfig(
        data={"dataset": "digits", **SIZES},
        model=MODEL,
        training=TRAINING | {"curve_points": points},
        regularizers=(),
        streams=Streams.of(0),
    )
    began = time.process_time()
    train(config, pool)
    return time.process_time() - began


def main() -> None:
    """Measure pairs of runs and write the ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()
    everything = sources.read("digits", {}).pool
    pool = everything.take(hold_out(everything.labels, SIZES["test_fraction"])[0])
    seconds(pool, 1)
    rows = [[seconds(pool, number) for number in (1, *POINTS)] for _ in range(PAIRS)]
    content: dict[str, Any] = {"epochs": EPOCHS, "pairs": PAIRS}
    for place, points in enumerate(POINTS, 1):
        ratios = [row[place] / row[0] for row in rows]
        content[f"points_{points}"] = {
            "median_ratio": round(statistics.median(ratios), 2),
            "lowest": round(min(ratios), 2),
            "highest": round(max(ratios), 2),
        }
    content["ratio_of_protocol"] = content[f"points_{POINTS[0]}"]["median_ratio"]
    added = [(row[-1] - row[0]) / (EPOCHS - 1) for row in rows]
    content["milliseconds_per_point"] = round(1000 * statistics.median(added), 1)
    RESULT.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content))


if __name__ == "__main__":
    main()
