"""Time a training step of the digits network with augmentation over the plain step.

The augmentation shifts, rotates and scales in one resampling. Bar: at most 1.20, counting the tally
that the audit reads. Batches of 50; ratios of the median step in one process, plain and augmented
steps taking turns, median of several rounds. Writes benchmarks/results/augmentation.json.
"""

import json
import statistics
import time
from pathlib import Path

import torch
from torch.nn import functional

from pipeline import models, regularizers
from pipeline.config.run import Training
from pipeline.config.streams import Streams
from pipeline.execution.processes import keep_freed_memory
from pipeline.prediction.network import as_images
from pipeline.training.task import Task

BAR = 1.20
ROUNDS, STEPS = 9, 60
BATCH = 50
SHAPE = (1, 8, 8)
MODEL = {
    "name": "resnet",
    "widths": (8, 16, 32),
    "blocks": 3,
    "hidden": 64,
    "grid": 2,
    "batch_norm": True,
}
ARM = {"name": "augmentation", "shift": 1.0, "rotate": 10.0, "scale": 0.1}
RESULT = Path(__file__).parent / "results" / "augmentation.json"


class Stepper:
    """A task with its optimizer, and one batch to repeat."""

    def __init__(self, *arm: dict[str, object]):
        torch.manual_seed(0)
        network = models.build(MODEL, SHAPE, 10)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        settings = Training(learning_rate=0.05, epochs=1, batch_size=BATCH)
        self.task = Task(network, regularizers.build(arm), settings, Streams.of(0))
        self.task.on_train_start()
        self.optimizer = torch.optim.SGD(
            self.task.groups(), lr=0.0, momentum=0.9, nesterov=True, fused=True
        )
        labels = torch.arange(BATCH) % 10
        self.batch = (
            as_images(torch.rand(BATCH, *SHAPE).numpy()),
            functional.one_hot(labels, 10).float(),
        )

    def step(self) -> float:
        """Return the seconds of one training step."""
        began = time.perf_counter()
        self.optimizer.zero_grad()
        self.task.training_step(self.batch, 0).backward()
        self.optimizer.step()
        return time.perf_counter() - began


def ratio(plain: Stepper, augmented: Stepper) -> tuple[float, float]:
    """Return the ratio of the median steps, and the plain one's seconds."""
    pairs = [(plain.step(), augmented.step()) for _ in range(STEPS)]
    without, with_it = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
    return with_it / without, without


def main() -> None:
    """Measure rounds after one that warms up, and write their ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()
    plain, augmented = Stepper(), Stepper(ARM)
    rounds = [ratio(plain, augmented) for _ in range(ROUNDS + 1)][1:]
    ratios = [value for value, _ in rounds]
    result = {
        "bar": BAR,
        "median_ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
        "median_plain_milliseconds": round(
            1000 * statistics.median(seconds for _, seconds in rounds), 2
        ),
        "rounds": ROUNDS,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
