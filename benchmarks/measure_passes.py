"""Fifty noise passes over one deterministic pass, with noise only in the head of the network.

Bar: at most 3, since everything before the noise is computed once; DropConnect draws 4 million
exact masks per pass, of 8 random bits each. Also measured, without a bar: noise at the input, where
nothing can be shared. Processor time of one thread; median of paired repetitions. Writes
benchmarks/results/passes.json.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline import models
from pipeline.execution.processes import keep_freed_memory
from pipeline.prediction.members import deterministic, noise
from pipeline.prediction.network import as_images
from pipeline.regularizers._regularizer import Regularizer
from pipeline.regularizers.dropconnect import DropConnect
from pipeline.regularizers.dropout import Dropout
from pipeline.regularizers.input_noise import InputNoise

REPETITIONS, PASSES, IMAGES = 15, 50, 500
MODEL = {
    "name": "resnet",
    "widths": (8, 16, 32),
    "blocks": 3,
    "hidden": 64,
    "grid": 2,
    "batch_norm": True,
}
ARMS: dict[str, tuple[Regularizer, float | None]] = {
    "dropout": (Dropout(rate=0.5), 3.0),
    "dropconnect": (DropConnect(rate=0.5), 3.0),
    "input_noise": (InputNoise(sigma=0.1), None),
}
RESULT = Path(__file__).parent / "results" / "passes.json"


def seconds(call: Callable[[], Tensor]) -> float:
    """Return the processor time of a call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def ratios(network: nn.Module, images: Tensor) -> Sequence[float]:
    """Return the ratios of noise passes to a deterministic pass, after a warm-up."""
    values = []
    for _ in range(REPETITIONS + 1):
        many = seconds(lambda: noise(network, images, PASSES, seed=0))
        values.append(many / seconds(lambda: deterministic(network, images)))
    return values[1:]


def main() -> None:
    """Measure every arm on 28x28 images and write the ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.manual_seed(0)
    images = as_images(torch.rand(IMAGES, 1, 28, 28).numpy())
    results = {}
    for name, (regularizer, bar) in ARMS.items():
        network = models.build(MODEL, (1, 28, 28), 10)
        regularizer.modify_model(network)
        values = ratios(network.to(memory_format=torch.channels_last), images)  # type: ignore[call-overload]
        shown = {"bar": bar, "median_ratio": round(statistics.median(values), 2)}
        results[name] = {**shown, "lowest": round(min(values), 2), "highest": round(max(values), 2)}
        print(name, json.dumps(results[name]), flush=True)
    RESULT.write_text(
        json.dumps(
            {**results, "passes": PASSES, "images": IMAGES, "repetitions": REPETITIONS}, indent=1
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
