"""One run as a worker does it: read the data, train, write the record.

Separate from the trainer, which touches no disk. Plain values in and out, so that any executor can carry
them, on this machine or another.
"""

import functools
import json
import pkgutil
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from pipeline.config.run import Hardware, config_of
from pipeline.data.arrays import Arrays
from pipeline.data.prepared import read_development, require_digest
from pipeline.records.store import Store
from pipeline.runtime.files import to_json
from pipeline.training.trainer import Trained, train


def perform(job: Mapping[str, Any]) -> dict[str, str]:
    """Trains the run `job["identity"]` on the data in `job["data"]`, on `job["hardware"]`, and stores it in `job["store"]`.

    Gives its state and, where it is not done, the reason. Raises what training raises, and Refusal where the data are not
    those of the identity. Of several processes that train one run together, each does this and the one that leads stores it.
    """
    torch.set_num_threads(1)  # the number of threads changes the bits
    store, fingerprint, identity = Store(Path(job["store"])), job["id"], job["identity"]
    pool = _pool(job["data"], identity["data_digest"])
    logger = None if store.muted() else _logger(job)
    trained = train(
        config_of(identity),
        pool,
        store.checkpoints(fingerprint),
        Hardware(**job["hardware"]),
        logger,
    )
    capability, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    machine = {"cpu_capability": capability, "threads": threads, "device": trained.device}
    state, reason = ("diverged", trained.diverged) if trained.diverged else ("done", "")
    record = {
        "state": state,
        "reason": reason,
        "audit": trained.audit,
        "cost": trained.cost,
        "machine": machine,
    }
    timing = {"seconds": trained.seconds, "machine": platform.machine()}
    if trained.leads:
        store.write(
            fingerprint, {"run.json": to_json(identity).encode(), **_files(trained)}, record, timing
        )
    if logger and logger.trouble:
        store.mute(logger.trouble)
    return {"state": state, "reason": reason}


def _logger(job: Mapping[str, Any]) -> Any:
    """What a job says is to be told of the run's curve while it trains, made by its name; None where it says nothing."""
    return (
        pkgutil.resolve_name(job["logger"]["make"])(**job["logger"]["given"])
        if job.get("logger")
        else None
    )


def _files(trained: Trained) -> dict[str, bytes]:
    files = {
        "history.jsonl": "".join(json.dumps(row) + "\n" for row in trained.history).encode(),
        "weights.safetensors": safetensors.torch.save(
            {name: value.contiguous() for name, value in trained.weights.items()}
        ),
    }
    for name, state in trained.kept.items():
        files[f"{name}_weights.safetensors"] = safetensors.torch.save(
            {key: value.contiguous() for key, value in state.items()}
        )
    if trained.validation_logits is not None:
        logits = {"logits": trained.validation_logits, "labels": trained.validation_labels}
        files["validation.safetensors"] = safetensors.torch.save(logits)
    return files


@functools.lru_cache(maxsize=2)
def _pool(folder: str, digest: str) -> Arrays:
    require_digest(Path(folder), digest)
    return read_development(Path(folder))
