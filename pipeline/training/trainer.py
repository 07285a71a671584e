"""Trains one run from its identity: the only user of Lightning's Trainer.

Separate from the task (what a step is) and from the store (where results go).
"""

import logging
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor
from torch.nn import functional

from pipeline import regularizers
from pipeline.config.fingerprint import RunConfig
from pipeline.config.schema import Data, Training
from pipeline.data.arrays import Arrays
from pipeline.data.loader import Batches
from pipeline.data.splits import train_and_validation
from pipeline.prediction.members import by_rule
from pipeline.prediction.network import as_images, assemble
from pipeline.regularizers.base import Evidence, Measures
from pipeline.training.checkpoints import Checkpoints, latest
from pipeline.training.cost import counted
from pipeline.training.curves import Curves, Diverged, Examples, Row
from pipeline.training.task import Task

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")  # Lightning 2.6.6 against torch 2.13


@dataclass(frozen=True)
class Trained:
    """What a run leaves: weights, curve, validation logits (members, N, classes) by its test rule, audit, cost."""

    weights: dict[str, Tensor]
    history: list[Row]
    validation_logits: Tensor | None
    validation_labels: Tensor
    audit: dict[str, Measures]
    cost: dict[str, int]
    diverged: str  # why, empty where it did not
    seconds: float | None  # of fitting; None for a resumed run


def train(config: RunConfig, pool: Arrays, checkpoints: Path | None = None) -> Trained:
    """Trains the run on its split of `pool`, resuming from the newest good checkpoint in `checkpoints`.

    Raises NoEffect where a regularizer was due to act and did not.
    """
    data, training, streams = Data(**config.data), Training(**config.training), config.streams
    parts = train_and_validation(pool, data.train_size, data.label_noise, streams.split)
    fit, held = (_examples(name, part) for name, part in zip(("train", "validation"), parts, strict=True))
    chosen = regularizers.build(config.regularizers)
    network = assemble(config, chosen, pool.shape, pool.classes)
    network.fit(fit.images)
    task = Task(network, chosen, training, streams)
    batches = Batches(fit.images, functional.one_hot(fit.labels, pool.classes).float(), training.batch_size, streams.order)
    cost = counted(config, pool, batches.size, updates=training.epochs * len(batches))
    curves = Curves((fit, held), training.curve_points)
    start = latest(checkpoints) if checkpoints else None
    began = time.perf_counter()
    diverged = _fit(task, batches, curves, checkpoints, start)
    seconds = None if start else time.perf_counter() - began
    logits = None if diverged else by_rule(network, held.images, regularizers.test_rule(chosen), streams.noise)
    audit = {} if diverged else _audit(task, curves.rows[-2]["loss"])
    return Trained(dict(network.state_dict()), curves.rows, logits, held.labels, audit, cost, diverged, seconds)


def _examples(split: str, arrays: Arrays) -> Examples:
    return Examples(split, as_images(arrays.images), torch.from_numpy(arrays.labels))


def _fit(task: Task, batches: Batches, curves: Curves, checkpoints: Path | None, start: Path | None) -> str:
    """Runs the training loop; why the run diverged, or nothing."""
    callbacks: list[Any] = [curves, *(item for regularizer in task.regularizers for item in regularizer.callbacks())]
    trainer = lightning.Trainer(
        max_epochs=task.training_settings.epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        plugins=[],
        callbacks=[*callbacks, *([Checkpoints(checkpoints)] if checkpoints else [])],
    )
    try:
        trainer.fit(task, train_dataloaders=batches, ckpt_path=start, weights_only=True)
    except Diverged as diverged:
        return str(diverged)
    return ""


def _audit(task: Task, training_loss: float) -> dict[str, Measures]:
    names = [type(regularizer).__module__.rpartition(".")[2] for regularizer in task.regularizers]
    return {
        name: regularizer.audit(Evidence(task.network, task.groups(), training_loss, changes))
        for name, regularizer, changes in zip(names, task.regularizers, task.changes, strict=True)
    }
