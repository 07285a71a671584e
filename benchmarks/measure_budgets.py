"""Validation accuracy of the baselines of five protocols by the number of epochs.

Each baseline has the learning rate that its committed report tuned, also at other numbers of
epochs. Every seed trains all lengths from the same split and weights, so gains are paired. The test
set is not read. The protocols must be prepared, as after `gapwise run --protocol NAME`. Writes
benchmarks/results/budgets.json.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from measure_run import ROOT, settings

from pipeline.comparison.training_length import _last_change
from pipeline.config.run import RunConfig
from pipeline.config.streams import Streams
from pipeline.data.prepared import read_development
from pipeline.execution.processes import keep_freed_memory
from pipeline.records.ledger import LEDGER, read_ledger
from pipeline.training.trainer import train

EPOCHS = {
    "digits": (60, 120, 240),
    "mnist_5k": (12, 24, 48),
    "fashion_mnist": (6, 12, 24),
    "fashion_mnist_resnet": (6, 12, 24),
    "cifar10": (15, 30, 60),
}
RATE = "training.learning_rate"
SEEDS = 3
RESULT = Path(__file__).parent / "results" / "budgets.json"


def accuracies(protocol: str, epochs: int, seed: int, pool: Any) -> tuple[float, float]:
    """Return validation accuracy at the end, and its change over the last third of training.

    Args:
        protocol: The name of the protocol.
        epochs: The number of epochs.
        seed: The seed of split, weights and batches.
        pool: The development examples.
    """
    plain = settings(protocol)
    changed = {"epochs": epochs, "learning_rate": tuned_rate(protocol)}
    tuned = plain | {"training": plain["training"] | changed}
    history = train(RunConfig(**tuned, regularizers=(), streams=Streams.of(seed)), pool).history
    scores = [row["accuracy"] for row in history if row["split"] == "validation"]
    return scores[-1], _last_change(history)


def tuned_rate(protocol: str) -> float:
    """Return the learning rate that the last report of a protocol tuned for its baseline."""
    plan = read_ledger(ROOT / "reports" / protocol / LEDGER)[-1]
    return float(plan["tuned"][RATE])


def case(protocol: str, artifacts: Path) -> dict[str, Any]:
    """Return the means over seeds at every number of epochs, in points of accuracy.

    Gains are over the first number.
    """
    pool = read_development(artifacts / protocol / "data")
    measured = {
        epochs: [accuracies(protocol, epochs, seed, pool) for seed in range(SEEDS)]
        for epochs in EPOCHS[protocol]
    }
    first = [end for end, _ in measured[EPOCHS[protocol][0]]]
    result = {}
    for epochs, rows in measured.items():
        ends = [end for end, _ in rows]
        result[str(epochs)] = {
            "accuracy": _points(ends),
            "gain": _points([end - other for end, other in zip(ends, first, strict=True)]),
            "change_over_last_third": _points([change for _, change in rows]),
        }
    return result


def _points(values: Sequence[float]) -> float:
    """Return the mean of fractions in points."""
    return round(100 * statistics.fmean(values), 2)


def main() -> None:
    """Measure the protocols and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    folder = parser.parse_args().artifacts
    torch.set_num_threads(1)
    keep_freed_memory()
    result: dict[str, Any] = {"seeds": SEEDS, "epochs": {}}
    for protocol in EPOCHS:
        result["epochs"][protocol] = case(protocol, folder)
        print(protocol, json.dumps(result["epochs"][protocol]), flush=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
