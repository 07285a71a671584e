"""Train one run in a worker: read the data, train, write the record.

Plain values in and out, so that any executor can carry them, on this machine or another.
"""

import functools
import json
import math
import pkgutil
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from pipeline.config.run import Hardware, config_of
from pipeline.data.arrays import Arrays
from pipeline.data.prepared import read_development, require_digest
from pipeline.data.weights import require_weights
from pipeline.records.runs import read_file, read_history, read_record
from pipeline.records.store import Store
from pipeline.records.unchanged import WEIGHTS
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import remedy_of, to_json
from pipeline.training.trainer import Trained, train


def run_training(job: Mapping[str, Any]) -> dict[str, str]:
    """Train the run of a job and store it.

    Several processes that train one run together each do this, and the first of them stores it.

    Args:
        job: `id`, the fingerprint; `identity` of the run; the folders `data` and `store`;
            `hardware`; and maybe `logger`, which is sent the learning curve (`make` names its
            function, `given` are its arguments).

    Returns:
        `state` (done or diverged) and `reason`.

    Raises:
        Refusal: The data or the pretrained weights are not those of the identity, or the network
            cannot take them.
        NoEffect: A regularizer should have acted and did not.
    """
    store, fingerprint, identity = Store(Path(job["store"])), job["id"], job["identity"]
    pool = _pool(job["data"], identity["data_digest"])
    logger = None if store.muted() else _logger(job)
    hardware = Hardware(**job["hardware"])
    config = config_of(identity)
    if path := config.model.get("weights"):
        require_weights(path, identity["weights"])
    start = identity.get("starts_from")
    parent = _weights(store.folder(start)) if start else None
    trained = train(config, pool, store.checkpoints(fingerprint), hardware, logger, parent)
    if start and config.start["head"] == "kept":
        trained = _after_first_phase(trained, store.folder(start))
    trained = _with_numbers(trained)
    if trained.leads:
        files = {"run.json": to_json(identity).encode(), **_files(trained)}
        timing = {"seconds": trained.seconds, "machine": platform.machine()}
        store.write(fingerprint, files, _record(trained), timing)
    if logger and logger.trouble:
        store.mute(logger.trouble)
    return _outcome(trained)


def _with_numbers(trained: Trained) -> Trained:
    """Return a run, diverged in its last epoch if its audit has values that are not finite.

    The squared norm of weights overflows long before a loss does.
    """
    lines = [
        f"{name}: {measure} is {value} after the last epoch"
        for name, measures in trained.audit.items()
        for measure, value in measures.items()
        if not math.isfinite(value)
    ]
    if not lines:
        return trained
    last = trained.history[-1]["epoch"]
    return replace(
        trained,
        diverged=lines[0],
        history=[row for row in trained.history if row["epoch"] < last],
        validation_logits=None,
        audit={},
        idle=[],
    )


def _after_first_phase(trained: Trained, first: Path) -> Trained:
    """Return the second phase of a training with the curve and the cost of both."""
    curve, record = read_history(first), read_record(first) or {}
    before = curve[-1]
    later = [
        {**row, **{key: row[key] + before[key] for key in ("epoch", "updates")}}
        for row in trained.history
    ]
    cost = dict(trained.cost)
    for key in ("updates", "training_flops"):
        cost[key] += record["cost"][key]
    return replace(trained, history=[*curve, *later], cost=cost)


def _weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of the run that a run starts from.

    Raises:
        Refusal: They are missing or corrupted.
    """
    content = read_file(folder, WEIGHTS)
    if not content:
        raise Refusal(f"{folder}: missing; a run starts from its weights; {remedy_of(folder)}")
    return safetensors.torch.load(content)


def _outcome(trained: Trained) -> dict[str, str]:
    return {"state": "diverged" if trained.diverged else "done", "reason": trained.diverged}


def _record(trained: Trained) -> dict[str, Any]:
    machine = {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": trained.device,
    }
    return {
        **_outcome(trained),
        "audit": trained.audit,
        "idle": trained.idle,
        "routing": trained.routing,
        "cost": trained.cost,
        "machine": machine,
        "kept": {kind: _kept_names(kind, states) for kind, states in trained.kept.items()},
    }


def _kept_names(kind: str, states: Sequence[Any]) -> list[str]:
    """Return the names of the files of kept weights of one kind, in order."""
    return [f"{kind}_{number}.safetensors" for number in range(1, len(states) + 1)]


def _logger(job: Mapping[str, Any]) -> Any:
    """Return the logger that a job names, or None."""
    given = job.get("logger")
    return pkgutil.resolve_name(given["make"])(**given["given"]) if given else None


def _files(trained: Trained) -> dict[str, bytes]:
    """Return the files of a run by name."""
    tensors = {WEIGHTS: trained.weights}
    for kind, states in trained.kept.items():
        tensors |= dict(zip(_kept_names(kind, states), states, strict=True))
    if trained.validation_logits is not None:
        tensors["validation.safetensors"] = {
            "logits": trained.validation_logits,
            "labels": trained.validation_labels,
        }
    history = "".join(json.dumps(row) + "\n" for row in trained.history)
    files = {name: _packed(state) for name, state in tensors.items()}
    return {"history.jsonl": history.encode(), **files}


def _packed(state: Mapping[str, Tensor]) -> bytes:
    """Return the content of a safetensors file; tied tensors are stored under all their names."""
    return safetensors.torch.save(
        {name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    )


@functools.lru_cache(maxsize=2)
def _pool(folder: str, digest: str) -> Arrays:
    require_digest(Path(folder), digest)
    return read_development(Path(folder))
