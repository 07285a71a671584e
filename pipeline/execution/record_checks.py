"""Find records that contradict the files of their run, and predictions of another run."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.plan import read_plan
from pipeline.config.test_rules import TestRule
from pipeline.records.predictions import View, read_predictions, require_predictions
from pipeline.records.runs import (
    done_records,
    read_file,
    read_history,
    read_record,
    read_validation,
)
from pipeline.records.unchanged import unchanged_runs
from pipeline.runtime.files import remedy_of

PHASES = ("exploration", "confirmation")
SCORED = "validation.safetensors"  # file of a run that came to its end
TOLERANCE = 0.01  # relative to the largest logit: rounding on another kind of machine


def record_differences(artifacts: Path) -> Iterator[str]:
    """Yield a line for every run that is missing, relabelled, or has predictions of another run.

    Args:
        artifacts: The folder of a protocol's artifacts.
    """
    for phase in PHASES:
        yield from _relabelled(artifacts / phase)
    yield from _foreign_predictions(artifacts)


def is_near(one: NDArray[np.floating], other: NDArray[np.floating]) -> bool:
    """Return whether logits differ by rounding only.

    Args:
        one: Logits, of any shape.
        other: The logits to compare with, which set the scale of the tolerance.

    Returns:
        False if the shapes differ.
    """
    if one.shape != other.shape:
        return False
    largest = np.abs(other).max(initial=0)
    return bool(np.abs(one - other).max(initial=0) <= TOLERANCE * largest)


def _relabelled(phase: Path) -> Iterator[str]:
    """Yield a line for every missing run, and every failed or diverged one that ended well.

    A run with the weights of its reference is a failed one that did.
    """
    plan = read_plan(phase)
    records = {name: read_record(phase / name) for name in plan.trained()}
    ended = {
        name: {**record, "state": "done"} if _has_ended(phase / name, record) else record
        for name, record in records.items()
        if record
    }
    unchanged = unchanged_runs(plan, ended)
    for name, record in records.items():
        if record is None:
            yield f"{phase / name}: missing; {remedy_of(phase / name)}"
        elif record["state"] != ended[name]["state"] and name not in unchanged:
            yield (
                f"{phase / name}: recorded as {record['state']}, but has validation scores of its "
                f"last epoch; remove {phase} and {remedy_of(phase)}"
            )


def _has_ended(run: Path, record: Mapping[str, Any]) -> bool:
    """Return whether a run has validation scores of its last epoch, in either of two files."""
    history = read_history(run)
    if SCORED in record["files"] or not history:
        return SCORED in record["files"]
    epochs = json.loads(read_file(run, "run.json"))["training"]["epochs"]
    return bool(history[-1]["split"] == "validation" and history[-1]["epoch"] >= epochs)


def _foreign_predictions(artifacts: Path) -> Iterator[str]:
    """Yield a line for every run whose validation predictions differ from its training's."""
    phase, folder = artifacts / "confirmation", artifacts / "predictions"
    plan = read_plan(phase)
    records = done_records(phase, plan.fingerprints())
    plain = [name for name in records if plan.rules()[name] == TestRule()]
    digests = require_predictions(folder, plain)
    for name in plain:
        logits, labels = read_validation(phase / name)
        predictions = read_predictions(folder, name, digests[name])
        predicted = predictions.logits[View("validation", "deterministic")]
        same_labels = np.array_equal(labels, predictions.labels["validation"])
        if not (same_labels and is_near(predicted, logits)):
            yield (
                f"{folder / name}.safetensors: not the predictions of this run; "
                f"remove {folder} and {remedy_of(folder)}"
            )
