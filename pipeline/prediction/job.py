"""Predict with one run in a worker: read the run and the data, predict, write the logits.

Plain values in and out, so that any executor can carry them, on this machine or another.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from pipeline import regularizers
from pipeline.config.run import Data, read_config
from pipeline.data.arrays import Arrays
from pipeline.data.missing import Filling
from pipeline.data.prepared import read_development, read_summary, read_test_images
from pipeline.data.splits import draw
from pipeline.data.stored import Images, bounded, pieces
from pipeline.prediction.network import as_images
from pipeline.prediction.tensors import TrainedRun, predictions
from pipeline.records.predictions import Predictions, write_predictions
from pipeline.records.runs import checked_record, read_file


def run_prediction(job: Mapping[str, Any]) -> dict[str, str]:
    """Predict with one trained run and write its logits.

    Args:
        job: `id`, the fingerprint; `folder`, the protocol's artifacts; `target`, the folder to
            write to; `viewed`, as in `predictions`; `accelerator`, as in `Hardware`.
    """
    torch.set_num_threads(1)
    folder = Path(job["folder"])
    pool, test, flips_keep = _data(folder / "data")
    run = _trained_run(folder / "confirmation" / job["id"], job["accelerator"])
    split = run.config.streams.split
    train, validation = draw(pool, Data(**run.config.data), split)
    filling = Filling.of(train.images)
    arrays = {"train": train.images, "validation": validation.images, "test": test}
    images = {name: as_images(filling.rows(array)) for name, array in arrays.items()}
    logits = predictions(run, images, pool.classes, job["viewed"], flips_keep)
    written = Predictions(
        logits={view: tensor.numpy() for view, tensor in logits.items()},
        labels={"train": train.labels, "validation": validation.labels},
        examples=_digest(validation.images),
    )
    write_predictions(Path(job["target"]), job["id"], written)
    return {"state": "done", "reason": ""}


def _trained_run(folder: Path, accelerator: str) -> TrainedRun:
    """Return a stored run in the form that prediction needs."""
    config = read_config(folder / "run.json")
    record = checked_record(folder) or {}

    def weights(name: str) -> dict[str, Tensor]:
        return load(read_file(folder, name))

    return TrainedRun(
        config=config,
        regularizers=regularizers.build(config.regularizers),
        weights=weights("weights.safetensors"),
        kept={kind: [weights(name) for name in names] for kind, names in record["kept"].items()},
        device="cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu",
    )


def _digest(images: Images) -> str:
    """Return a checksum that distinguishes predictions made on different examples."""
    digest = hashlib.sha256()
    for piece in pieces(images):
        digest.update(piece.tobytes())
    return digest.hexdigest()


@functools.lru_cache(maxsize=1)
def _data(folder: Path) -> tuple[Arrays, Images, bool]:
    """Return the development pool, the test images, and whether flips keep labels."""
    flips_keep = bool(read_summary(folder)["flips_keep_labels"])
    return read_development(folder), bounded(read_test_images(folder)), flips_keep
