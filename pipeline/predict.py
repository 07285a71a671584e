"""Stage 5: the logits of every confirmation run, with a member axis; test labels stay closed."""

import functools
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline import regularizers
from pipeline.config.parameters import read_parameters
from pipeline.config.plan import read_plan
from pipeline.config.run import Data, read_config
from pipeline.data.arrays import Arrays
from pipeline.data.prepared import read_development, read_summary, read_test_images, require_digest
from pipeline.data.splits import train_and_validation
from pipeline.execution.failures import format_failures, run_labels
from pipeline.execution.processes import keep_freed_memory
from pipeline.execution.scheduler import finish
from pipeline.execution.stage import Incomplete, stage
from pipeline.prediction.network import as_images
from pipeline.prediction.tensors import TrainedRun, predictions
from pipeline.records.predictions import Predictions, seal_predictions, write_predictions
from pipeline.records.store import checked_record
from pipeline.runtime.files import new_folder


def main(protocol: str) -> None:
    """Write artifacts/<protocol>/predictions."""
    folder = Path("artifacts") / protocol
    plan = read_plan(folder / "confirmation")
    require_digest(folder / "data", plan.data_digest)
    viewed, execution = plan.grouped(), read_parameters().execution
    with new_folder(folder / "predictions") as staging:
        jobs = [
            {
                "id": name,
                "viewed": name in viewed,
                "folder": str(folder.absolute()),
                "target": str(staging.absolute()),
                "accelerator": execution.accelerator,
            }
            for name in plan.fingerprints()
            if _is_done(folder / "confirmation" / name)
        ]
        title = f"predictions of {protocol}"
        failed = finish(jobs, predict_run, execution, title, [folder.absolute()])
        if failed:
            raise Incomplete(format_failures(failed, len(jobs), run_labels(plan)))
        seal_predictions(staging)


def predict_run(job: Mapping[str, Any]) -> dict[str, str]:
    """Predict with one trained run and write its logits."""
    torch.set_num_threads(1)
    keep_freed_memory()
    folder = Path(job["folder"])
    pool, test = _data(str(folder / "data"))
    run = _trained_run(folder / "confirmation" / job["id"], job["accelerator"])
    train, validation = train_and_validation(
        pool, Data(**run.config.data), run.config.streams.split
    )
    images = {
        "train": as_images(train.images),
        "validation": as_images(validation.images),
        "test": as_images(test),
    }
    flips_keep = read_summary(folder / "data")["flips_keep_labels"]
    logits = predictions(run, images, pool.classes, job["viewed"], flips_keep)
    written = Predictions(
        logits={view: tensor.numpy() for view, tensor in logits.items()},
        labels={"train": train.labels, "validation": validation.labels},
        examples=_digest(images["validation"]),
    )
    write_predictions(Path(job["target"]), job["id"], written)
    return {"state": "done", "reason": ""}


def _trained_run(folder: Path, accelerator: str) -> TrainedRun:
    """Return a stored run as it is needed to predict."""
    config = read_config(folder / "run.json")
    record = checked_record(folder) or {}
    return TrainedRun(
        config=config,
        regularizers=regularizers.build(config.regularizers),
        weights=load_file(folder / "weights.safetensors"),
        kept={
            kind: [load_file(folder / name) for name in names]
            for kind, names in record["kept"].items()
        },
        device="cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu",
    )


def _digest(images: Tensor) -> str:
    """Return a checksum that tells apart predictions made on different examples."""
    return hashlib.sha256(images.contiguous().numpy().tobytes()).hexdigest()


def _is_done(run: Path) -> bool:
    record = checked_record(run)
    return record is not None and record["state"] == "done"


@functools.lru_cache(maxsize=1)
def _data(folder: str) -> tuple[Arrays, Any]:
    return read_development(Path(folder)), read_test_images(Path(folder))


if __name__ == "__main__":
    sys.exit(stage(main))
