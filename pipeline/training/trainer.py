"""Trains one run from its identity: the only user of Lightning's Trainer.

Separate from the task (what a step is) and from the store (where results go).
"""

import itertools
import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor
from torch.nn import functional

from pipeline import regularizers
from pipeline.config.run import Data, Hardware, RunConfig, Training
from pipeline.data.arrays import Arrays
from pipeline.data.loader import Batches
from pipeline.data.splits import train_and_validation
from pipeline.prediction.members import by_rule
from pipeline.prediction.network import as_images, assemble
from pipeline.regularizers.base import Evidence, Measures
from pipeline.training.callbacks import Forwarded
from pipeline.training.checkpoints import Checkpoints, latest
from pipeline.training.cost import counted
from pipeline.training.curves import Curves, Diverged, Examples, Row
from pipeline.training.snapshots import Snapshots
from pipeline.training.task import Task

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings(
    "ignore", message=".*LeafSpec.*is deprecated"
)  # Lightning 2.6.6 against torch 2.13

PROCESSOR = Hardware(accelerator="cpu")


@dataclass(frozen=True)
class Trained:
    """What a run leaves: weights, curve, validation logits (members, N, classes) by its test rule, audit, cost."""

    weights: dict[str, Tensor]
    kept: dict[str, dict[str, Tensor]]  # further weights by name, such as those before averaging
    history: list[Row]
    validation_logits: Tensor | None
    validation_labels: Tensor
    audit: dict[str, Measures]
    cost: dict[str, int]
    diverged: str  # why, empty where it did not
    seconds: float | None  # of fitting; None for a resumed run
    device: str  # what it was trained on
    leads: bool = (
        True  # of several processes that train one run together, the one that has its results
    )


def train(
    config: RunConfig,
    pool: Arrays,
    checkpoints: Path | None = None,
    hardware: Hardware = PROCESSOR,
    logger: Logger | None = None,
) -> Trained:
    """Trains the run on its split of `pool`, resuming from the newest good checkpoint in `checkpoints`.

    `logger` is given the points of the learning curve as they come: `loss` and the like, at the epoch as step.
    Raises NoEffect where a regularizer was due to act and did not.
    """
    data, training, streams = Data(**config.data), Training(**config.training), config.streams
    fit, held = _examples(pool, data, streams.split)
    chosen = regularizers.build(config.regularizers)
    network = assemble(config, chosen, pool.shape, pool.classes)
    network.fit(fit.images)
    task = Task(network, chosen, training, streams)
    batches = Batches(
        fit.images,
        functional.one_hot(fit.labels, pool.classes).float(),
        training.batch_size,
        streams.order,
    )
    curves = Curves((fit, held), training.curve_points)
    start = latest(checkpoints) if checkpoints else None
    began = time.perf_counter()
    own = [regularizer.callbacks() for regularizer in chosen]
    acting = [
        *itertools.chain(*own),
        *([Snapshots(training.snapshots)] if training.snapshots else []),
    ]
    writing = [Checkpoints(checkpoints)] if checkpoints else []
    trainer = _trainer(training, [curves, *map(Forwarded, acting), *writing], hardware, logger)
    diverged = _fit(trainer, task, batches, start)
    seconds = None if start else time.perf_counter() - began
    network.to(trainer.strategy.root_device)  # Lightning leaves it on the processor
    logits = (
        None
        if diverged
        else by_rule(network, held.images, regularizers.test_rule(chosen), streams.noise)
    )
    audit = {} if diverged else _audit(task, own, curves.rows[-2]["loss"])
    cost = counted(config, pool, batches.size, updates=task.updates)
    kept = {
        name: _here(state)
        for item in acting
        if hasattr(item, "kept")
        for name, state in item.kept().items()
    }
    weights, device = _here(network.state_dict()), _device(trainer)
    return Trained(
        weights,
        kept,
        curves.rows,
        logits,
        held.labels,
        audit,
        cost,
        diverged,
        seconds,
        device,
        trainer.is_global_zero,
    )


def _examples(pool: Arrays, data: Data, seed: int) -> tuple[Examples, Examples]:
    """Those to train on and those to validate on, the only copies of them."""
    fit, held = train_and_validation(pool, data, seed)
    return _part("train", fit), _part("validation", held)


def _part(split: str, arrays: Arrays) -> Examples:
    return Examples(split, as_images(arrays.images), torch.from_numpy(arrays.labels))


def _trainer(
    training: Training, callbacks: list[Any], hardware: Hardware, logger: Logger | None
) -> lightning.Trainer:
    """Lightning's trainer with nothing of its own that writes, prints or draws."""
    found = "gpu" if torch.cuda.is_available() else "cpu"
    accelerator = found if hardware.accelerator == "auto" else hardware.accelerator
    return lightning.Trainer(
        max_epochs=training.epochs,
        accelerator=accelerator,
        devices=hardware.devices,
        strategy=hardware.strategy,
        precision=training.precision,
        deterministic="warn" if accelerator == "gpu" else None,
        logger=logger or False,
        log_every_n_steps=1,  # or it warns of short epochs
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        callbacks=callbacks,
    )


def _fit(trainer: lightning.Trainer, task: Task, batches: Batches, start: Path | None) -> str:
    """Runs the training loop; why the run diverged, or nothing."""
    try:
        trainer.fit(task, train_dataloaders=batches, ckpt_path=start, weights_only=True)
    except Diverged as diverged:
        return str(diverged)
    return ""


def _here(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights on the processor."""
    return {name: value.cpu() for name, value in state.items()}


def _device(trainer: lightning.Trainer) -> str:
    """What a run was trained on: cpu, or the GPU's name; how many, where several worked together."""
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return (
        name
        if trainer.world_size == 1
        else f"{trainer.world_size} x {name}, {type(trainer.strategy).__name__}"
    )


def _audit(task: Task, own: list[list[Any]], training_loss: float) -> dict[str, Measures]:
    names = [regularizer.name for regularizer in task.regularizers]
    return {
        name: regularizer.audit(
            Evidence(
                task.network,
                task.trainer.optimizers[0].param_groups,
                training_loss,
                changes,
                callbacks,
            )
        )
        for name, regularizer, changes, callbacks in zip(
            names, task.regularizers, task.changes, own, strict=True
        )
    }
