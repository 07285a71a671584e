"""Stage 5: the logits of every confirmation run, with a member axis; test labels stay closed."""

import functools
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from pipeline import regularizers
from pipeline.config.parameters import read_parameters
from pipeline.config.plan import read_plan
from pipeline.config.run import Data, read_config
from pipeline.data.arrays import Arrays
from pipeline.data.prepared import read_development, read_summary, read_test_images, require_digest
from pipeline.data.splits import train_and_validation
from pipeline.execution.processes import keep_freed_memory
from pipeline.execution.scheduler import finish, labels, said
from pipeline.execution.stage import Incomplete, stage
from pipeline.prediction.network import as_images
from pipeline.prediction.tensors import Subject, predictions
from pipeline.records.store import checked_record
from pipeline.runtime.files import new_folder, write_sealed


def main(protocol: str) -> None:
    """Writes artifacts/<protocol>/predictions."""
    folder = Path("artifacts") / protocol
    plan = read_plan(folder / "confirmation")
    require_digest(folder / "data", plan.data_digest)
    done = [name for name in plan.fingerprints() if _is_done(folder / "confirmation" / name)]
    with new_folder(folder / "predictions") as staging:
        viewed, execution = plan.grouped(), read_parameters().execution
        fixed = {
            "folder": str(folder.absolute()),
            "target": str(staging.absolute()),
            "accelerator": execution.accelerator,
        }
        jobs = [{"id": name, "viewed": name in viewed, **fixed} for name in done]
        failed = finish(jobs, perform, execution, f"predictions of {protocol}", [folder.absolute()])
        if failed:
            raise Incomplete(said(failed, len(jobs), labels(plan)))
        sums = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(staging.iterdir())
        }
        write_sealed(staging / "predictions.json", {"files": sums})


def perform(job: Mapping[str, Any]) -> dict[str, str]:
    """Predicts with one trained run and writes its tensors."""
    torch.set_num_threads(1)
    keep_freed_memory()
    folder = Path(job["folder"])
    run = folder / "confirmation" / job["id"]
    config = read_config(run / "run.json")
    pool, test = _data(str(folder / "data"))
    device = "cuda" if job["accelerator"] != "cpu" and torch.cuda.is_available() else "cpu"
    weights = load_file(run / "weights.safetensors")
    subject = Subject(config, regularizers.build(config.regularizers), weights, _kept(run), device)
    train, validation = train_and_validation(pool, Data(**config.data), config.streams.split)
    images = {
        "train": as_images(train.images),
        "validation": as_images(validation.images),
        "test": as_images(test),
    }
    flips_keep = read_summary(folder / "data")["flips_keep_labels"]
    tensors = predictions(subject, images, pool.classes, job["viewed"], flips_keep)
    labels = {
        "labels/train": torch.from_numpy(train.labels),
        "labels/validation": torch.from_numpy(validation.labels),
    }
    content = save({**tensors, **labels, "examples/validation": _digest(images["validation"])})
    (Path(job["target"]) / f"{job['id']}.safetensors").write_bytes(content)
    return {"state": "done", "reason": ""}


def _kept(run: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The weights a run kept beside its own, by name."""
    end = "_weights.safetensors"
    return {path.name.removesuffix(end): load_file(path) for path in sorted(run.glob(f"*{end}"))}


def _digest(images: torch.Tensor) -> torch.Tensor:
    """The 32 bytes of a checksum that tells apart predictions made on different examples."""
    return torch.frombuffer(
        bytearray(hashlib.sha256(images.contiguous().numpy().tobytes()).digest()), dtype=torch.uint8
    )


def _is_done(run: Path) -> bool:
    record = checked_record(run)
    return record is not None and record["state"] == "done"


@functools.lru_cache(maxsize=1)
def _data(folder: str) -> tuple[Arrays, Any]:
    return read_development(Path(folder)), read_test_images(Path(folder))


if __name__ == "__main__":
    sys.exit(stage(main))
