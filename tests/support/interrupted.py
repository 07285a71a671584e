"""A training that is interrupted between two epochs, and everything that a run ends with."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.loggers import Logger

from pipeline.config.run import Hardware, RunConfig
from pipeline.data.arrays import Arrays
from pipeline.training import checkpoints
from pipeline.training.checkpoints import latest
from pipeline.training.task import Task
from pipeline.training.trainer import PROCESSOR, Trained, train


def killed_after(
    stop: int,
    config: RunConfig,
    pool: Arrays,
    folder: Path,
    logger: Logger | None = None,
    hardware: Hardware = PROCESSOR,
) -> None:
    """Train until `stop` epochs are in a checkpoint and the next has begun."""
    start = Task.on_train_epoch_start

    def interrupted(self: Task) -> None:
        start(self)
        if self.current_epoch == stop:
            raise RuntimeError("killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Task, "on_train_epoch_start", interrupted)
        patch.setattr(
            checkpoints.Checkpoints.__init__, "__defaults__", (0.0,)
        )  # one after every epoch
        with pytest.raises(RuntimeError, match="killed"):
            train(config, pool, folder, hardware, logger)
    assert latest(folder) is not None


Ended = tuple[Trained, dict[str, Any]]


def ended(
    config: RunConfig, pool: Arrays, folder: Path | None = None, hardware: Hardware = PROCESSOR
) -> Ended:
    """Return a finished run, and what it held in memory: the states of optimizer and callbacks."""
    held: dict[str, Any] = {}

    def look(self: Task) -> None:
        held["optimizer"] = self.trainer.optimizers[0].state_dict()
        callbacks = [
            each for each in self.trainer.callbacks if not isinstance(each, checkpoints.Checkpoints)
        ]
        held["callbacks"] = [each.state_dict() for each in callbacks]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Task, "on_train_end", look)
        return train(config, pool, folder, hardware), held


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal to the last bit, tensors in them included."""
    if isinstance(one, torch.Tensor):
        return (
            isinstance(other, torch.Tensor)
            and one.dtype == other.dtype
            and torch.equal(one.cpu(), other.cpu())
        )
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            same(value, other[key]) for key, value in one.items()
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def assert_same_end(
    config: RunConfig,
    pool: Arrays,
    folder: Path,
    *stops: int,
    hardware: Hardware = PROCESSOR,
    whole: Ended | None = None,
) -> None:
    """Assert that runs killed after so many epochs and resumed end as an uninterrupted one.

    Args:
        config: The settings of the run.
        pool: The development examples.
        folder: The place of checkpoints.
        stops: Numbers of epochs, for each of which a run is killed.
        hardware: The devices to train on.
        whole: What `ended` returned of the uninterrupted run; None to train it.
    """
    uninterrupted, held = whole or ended(config, pool, None, hardware)
    for stop in stops:
        place = folder / str(stop)
        killed_after(stop, config, pool, place, hardware=hardware)
        resumed, again = ended(config, pool, place, hardware)
        assert resumed.seconds is None  # it was resumed, not trained anew
        for name in ("weights", "kept", "history", "validation_logits", "audit", "cost"):
            assert same(getattr(uninterrupted, name), getattr(resumed, name)), (stop, name)
        for name, state in held.items():
            assert same(state, again[name]), (stop, name)
