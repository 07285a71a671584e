"""Read and write the predictions of one run: logits by view, with the labels of its splits."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed, write_sealed

INDEX = "predictions.json"
Logits = NDArray[np.floating[Any]]  # (members, N, classes)


class View(NamedTuple):
    """The key of a tensor of logits: the members and the split.

    Attributes:
        split: train, validation or test.
        kind: deterministic, noise, augmented, trained, draws, crops, snapshots, raw, ...
    """

    split: str  # train, validation or test
    kind: str  # deterministic, noise, augmented, trained, draws, crops, snapshots, raw, ...


@dataclass(frozen=True)
class Predictions:
    """All logits (members, examples, classes) of one run.

    Attributes:
        logits: The logits by view.
        labels: (examples,) by split, of train and validation; `evaluate` alone reads those of test.
        examples: The digest of the validation images; equal where two runs validate on the same
            ones.
    """

    logits: Mapping[View, Logits]
    labels: Mapping[str, NDArray[np.int64]]
    examples: str

    def kinds(self, split: str) -> list[str]:
        """Return the kinds of members that have logits on a split.

        Args:
            split: train, validation or test.
        """
        return [view.kind for view in self.logits if view.split == split]


def write_predictions(folder: Path, run: str, predictions: Predictions) -> None:
    """Write the predictions of one run into `folder`.

    Args:
        folder: The folder of predictions.
        run: The fingerprint of the run.
        predictions: Its logits and labels.
    """
    tensors: dict[str, NDArray[Any]] = {}
    entries = []
    for view, logits in predictions.logits.items():
        entries.append({"tensor": f"logits_{len(tensors)}", **view._asdict()})
        tensors[f"logits_{len(tensors)}"] = np.ascontiguousarray(logits)
    for split, labels in predictions.labels.items():
        tensors[f"labels_{split}"] = labels
    described = {
        "logits": entries,
        "labels": {split: f"labels_{split}" for split in predictions.labels},
        "examples": predictions.examples,
    }
    content = save(tensors, metadata={"index": json.dumps(described)})
    (folder / _name(run)).write_bytes(content)


def seal_predictions(folder: Path) -> None:
    """Write the sha256 of every file in `folder` into its index.

    Args:
        folder: The folder of the predictions.
    """
    write_sealed(
        folder / INDEX, {"files": {path.name: _digest(path) for path in sorted(folder.iterdir())}}
    )


def require_predictions(folder: Path, runs: list[str]) -> dict[str, str]:
    """Return the sha256 of the predictions of every run.

    Args:
        folder: The folder of the predictions.
        runs: The fingerprints of the runs.

    Raises:
        Refusal: A run was not predicted.
    """
    files = read_sealed(folder / INDEX)["files"]
    missing = [
        f"{folder / INDEX}: files.{_name(run)}: missing; expected a file for every run that is done"
        for run in runs
        if _name(run) not in files
    ]
    if missing:
        raise Refusal(*missing)
    return {run: files[_name(run)] for run in runs}


def read_predictions(folder: Path, run: str, digest: str) -> Predictions:
    """Return the predictions of one run.

    Args:
        folder: The folder of the predictions.
        run: The fingerprint of the run.
        digest: The sha256 of its file, as the index has it.

    Raises:
        Refusal: The file is missing, or has another sha256.
    """
    path = folder / _name(run)
    if not path.is_file() or _digest(path) != digest:
        raise Refusal(f"{path}: missing or corrupted; expected sha256 {digest}, as in {INDEX}")
    with safe_open(path, framework="numpy") as file:
        index = json.loads(file.metadata()["index"])
        return Predictions(
            logits={
                View(entry["split"], entry["kind"]): file.get_tensor(entry["tensor"])
                for entry in index["logits"]
            },
            labels={split: file.get_tensor(name) for split, name in index["labels"].items()},
            examples=index["examples"],
        )


def _name(run: str) -> str:
    return f"{run}.safetensors"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
