"""Train one run from its identity: the only user of Lightning's Trainer."""

import itertools
import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins import environments
from torch import Tensor
from torch.nn import functional

from pipeline import regularizers
from pipeline.config.run import Data, Hardware, RunConfig, Training
from pipeline.config.start import RunStart
from pipeline.data.arrays import Arrays
from pipeline.data.loader import Batches, ImageTensor
from pipeline.data.splits import train_and_validation
from pipeline.models._randomness import restored_globals
from pipeline.models._routing import routes, routing_table
from pipeline.models._start import frozen_tensors
from pipeline.prediction.members import by_rule
from pipeline.prediction.network import as_images, assemble
from pipeline.regularizers._audit import AuditInputs, Measures
from pipeline.regularizers._callback import TrainingCallback
from pipeline.regularizers._noise import require_draws
from pipeline.regularizers._regularizer import Regularizer
from pipeline.training.callbacks import Forwarded
from pipeline.training.checkpoints import Checkpoints, latest
from pipeline.training.compatibility import require_trainable
from pipeline.training.cost import counted
from pipeline.training.curves import Curves, Diverged, Examples, Row
from pipeline.training.features import features_of, head_alone
from pipeline.training.frozen import require_unchanged
from pipeline.training.snapshots import Snapshots
from pipeline.training.task import Task

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
# Lightning 2.6.6 against torch 2.13
warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")

PROCESSOR = Hardware(accelerator="cpu")


State = dict[str, Tensor]  # of a network


@dataclass(frozen=True)
class Trained:
    """The results of a run: its weights on the CPU, learning curve, audit and cost."""

    weights: dict[str, Tensor]
    kept: dict[str, list[State]]  # further states by kind: snapshots, or raw before averaging
    history: list[Row]
    validation_logits: Tensor | None  # (members, N, classes) by the test rule; None if diverged
    validation_labels: Tensor  # (N,)
    audit: dict[str, Measures]  # by regularizer
    idle: list[str]  # the regularizers that validly did nothing
    routing: list[dict[str, Any]]  # group, reason, and names of parameters
    cost: dict[str, Any]
    diverged: str  # the reason, empty for a run that did not
    seconds: float | None  # of fitting; None for a resumed run
    device: str  # what it was trained on
    leads: bool  # whether this process, of several that train one run, has the results


def train(
    config: RunConfig,
    pool: Arrays,
    checkpoints: Path | None = None,
    hardware: Hardware = PROCESSOR,
    logger: Logger | None = None,
    parent: Mapping[str, Tensor] | None = None,
) -> Trained:
    """Train a run on its split of the pool, from the newest good checkpoint if there is one.

    Args:
        config: The settings and streams of the run.
        pool: The development examples.
        checkpoints: The folder of the run's checkpoints; None for a run without any.
        hardware: The devices to train on.
        logger: The receiver of the points of the learning curve, at the epoch as step.
        parent: The weights of the run that this one starts from; None for random ones, or those of
            `model.weights`.

    Raises:
        NoEffect: A regularizer should have acted and did not, or what is frozen has changed.
        Refusal: The network cannot take the images, or a regularizer cannot act on it.
    """
    torch.set_num_threads(1)  # the number of threads changes the bits
    setup = _set_up(config, pool, parent)
    training, network = setup.training, setup.task.network
    curves = Curves((setup.fit, setup.held), training.curve_points)
    hooks = [regularizer.callbacks() for regularizer in setup.regularizers]
    acting = [*itertools.chain(*hooks)]
    if training.snapshots:
        acting.append(Snapshots(training.snapshots, training.warm_up))
    callbacks: list[lightning.Callback] = [curves, *map(Forwarded, acting)]
    if checkpoints:
        callbacks.append(Checkpoints(checkpoints))
    checkpoint = latest(checkpoints) if checkpoints else None
    trainer = _trainer(training, callbacks, hardware, logger)
    began = time.perf_counter()
    diverged = _fit(trainer, setup.task, setup.batches, checkpoint)
    seconds = None if checkpoint else time.perf_counter() - began
    network.head = ""
    network.to(trainer.strategy.root_device)  # Lightning leaves it on the CPU
    logits, audit = None, {}
    if not diverged:
        # before noise layers sample for predictions: the audit is of training alone
        audit = _audit(setup.task, hooks, training_loss=curves.rows[-2]["loss"])
        require_unchanged(network, setup.frozen)
        rule = regularizers.test_rule(setup.regularizers)
        logits = by_rule(network, setup.validation_images, rule, config.streams.noise)
    task = setup.task
    return Trained(
        weights=_on_cpu(network.state_dict()),
        kept={
            kind: [_on_cpu(state) for state in states]
            for callback in acting
            for kind, states in callback.kept_weights().items()
        },
        history=curves.rows,
        validation_logits=logits,
        validation_labels=setup.held.labels,
        audit=audit,
        idle=[item.name for item in setup.regularizers if _is_idle(item, audit)],
        routing=routing_table(routes(network)),
        cost=counted(config, pool, setup.batches.size, task.updates, task.passes, setup.head),
        diverged=diverged,
        seconds=seconds,
        device=_device(trainer),
        leads=trainer.is_global_zero,
    )


@dataclass(frozen=True)
class _Setup:
    """What a run trains, before its first update.

    Attributes:
        training: The training settings of the run.
        regularizers: Its regularizers.
        task: The Lightning module, which holds the network.
        frozen: The tensors of the network that training must not change, by name.
        head: The layer that alone is trained, on features instead of images; empty for a network
            that is trained on images.
        fit: The training examples: images, or features for `head`.
        held: The validation examples, in the same form.
        validation_images: The images of the validation examples.
        batches: The training examples in batches.
    """

    training: Training
    regularizers: Sequence[Regularizer]
    task: Task
    frozen: dict[str, Tensor]
    head: str
    fit: Examples
    held: Examples
    validation_images: ImageTensor
    batches: Batches


def _set_up(config: RunConfig, pool: Arrays, parent: Mapping[str, Tensor] | None) -> _Setup:
    """Split the pool, make the network and the task, and put the training examples in batches."""
    data, training, streams = Data(**config.data), Training(**config.training), config.streams
    fit, held = _examples(pool, data, streams.split)
    validation_images = held.images
    chosen = regularizers.build(config.regularizers)
    network = assemble(config, chosen, pool.shape, pool.classes, True, parent)
    if parent is None:
        network.fit(fit.images)
    start = RunStart(**config.start) if config.start else None
    task = Task(network, chosen, training, streams, start)
    require_trainable(task.optimizer_settings, network, chosen)
    frozen = frozen_tensors(network)
    head = head_alone(network, start, chosen, fit.images[: training.batch_size]) if start else ""
    if head:
        fit = replace(fit, images=features_of(network, head, fit.images))
        held = replace(held, images=features_of(network, head, held.images))
        network.head = head
    targets = functional.one_hot(fit.labels, pool.classes).float()
    batches = Batches(fit.images, targets, training.batch_size, streams.order)
    return _Setup(training, chosen, task, frozen, head, fit, held, validation_images, batches)


def _examples(pool: Arrays, data: Data, seed: int) -> tuple[Examples, Examples]:
    """Return the training and the validation examples, the only copies of them."""
    fit, held = train_and_validation(pool, data, seed)
    return _part("train", fit), _part("validation", held)


def _part(split: str, arrays: Arrays) -> Examples:
    return Examples(split, as_images(arrays.images), torch.from_numpy(arrays.labels))


def _trainer(
    training: Training,
    callbacks: list[lightning.Callback],
    hardware: Hardware,
    logger: Logger | None,
) -> lightning.Trainer:
    """Return Lightning's trainer with everything off that writes, prints or draws."""
    available = "gpu" if torch.cuda.is_available() else "cpu"
    accelerator = available if hardware.accelerator == "auto" else hardware.accelerator
    local = environments.LightningEnvironment()  # type: ignore[attr-defined]
    return lightning.Trainer(
        max_epochs=training.epochs,
        accelerator=accelerator,
        devices=hardware.devices,
        strategy=hardware.strategy,
        plugins=[local],  # whatever cluster this machine belongs to
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
    """Run the training loop and return why the run diverged, or an empty text."""
    try:
        with restored_globals(), warnings.catch_warnings():
            # frozen layers are in evaluation mode on purpose
            warnings.filterwarnings("ignore", message="Found .* in eval mode at the start")
            trainer.fit(task, train_dataloaders=batches, ckpt_path=start, weights_only=True)
    except Diverged as diverged:
        return str(diverged)
    return ""


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in state.items()}


def _device(trainer: lightning.Trainer) -> str:
    """Return cpu or the GPU's name, and for several devices their number and strategy."""
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    if trainer.world_size == 1:
        return name
    return f"{trainer.world_size} x {name}, {type(trainer.strategy).__name__}"


def _is_idle(regularizer: Regularizer, audit: Mapping[str, Measures]) -> bool:
    """Return whether a regularizer validly did nothing in a run with this audit."""
    measures = audit.get(regularizer.name, {})
    return regularizer.activity is not None and measures.get(regularizer.activity) == 0


def _audit(
    task: Task, callbacks: list[list[TrainingCallback]], training_loss: float
) -> dict[str, Measures]:
    """Return the measures of every regularizer's audit, by name.

    Raises:
        NoEffect: A noise layer never sampled, or an audit failed.
    """
    require_draws(task.layers)
    groups: list[dict[str, Any]] = task.trainer.optimizers[0].param_groups
    audits = {}
    for item, changes, hooks in zip(task.regularizers, task.changes, callbacks, strict=True):
        inputs = AuditInputs(task.network, groups, training_loss, changes, hooks)
        audits[item.name] = item.audit(inputs)
    return audits
