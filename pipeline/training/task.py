"""Define the one LightningModule: what a training step is, for every network and every arm.

All randomness is derived here, from (seed, stream, epoch) as an epoch begins, so that resuming
needs no state of any generator.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor
from torch.nn import functional

from pipeline import optimizers, schedules
from pipeline.config.run import Training
from pipeline.config.start import RunStart
from pipeline.config.streams import Streams
from pipeline.data.loader import Batches
from pipeline.models._randomness import seed_globals
from pipeline.models._sites import weights
from pipeline.models._standardized import Standardized
from pipeline.models._start import rates
from pipeline.regularizers._audit import BatchChanges, Groups
from pipeline.regularizers._noise import noise_layers, seed_noise, switch
from pipeline.regularizers._regularizer import Regularizer, batch_generator
from pipeline.schedules._schedule import Course, with_warm_up

Batch = tuple[Tensor, Tensor]


class Task(lightning.LightningModule):
    """A network, its regularizers, and how it is optimized."""

    def __init__(
        self,
        network: Standardized,
        regularizers: Sequence[Regularizer],
        training: Training,
        streams: Streams,
        start: RunStart | None = None,
    ):
        super().__init__()
        self.network = network
        self.regularizers = tuple(regularizers)
        self.training_settings = training
        self.optimizer_settings = optimizers.parse(training.optimizer)
        self.streams = streams
        self.start = start
        self.layers = noise_layers(network)
        self.changes = [BatchChanges() for _ in self.regularizers]
        self.updates = 0
        self.passes = 0  # forward and backward; an update of L-BFGS takes several
        self.scored_epoch = 0  # epochs done when the curve was last scored
        self.scores: dict[str, dict[str, float]] = {}  # of the last point, by split

    def on_train_start(self) -> None:
        """Switch to training mode with noise; code that scores in between restores both."""
        switch(self.network, training=True, sampling=True)

    def on_train_epoch_start(self) -> None:
        """Derive this epoch's order, its noise and the network's own draws from the streams."""
        epoch = self.current_epoch
        batches = self.trainer.train_dataloader
        assert isinstance(batches, Batches)
        batches.epoch, batches.share = epoch, (self.global_rank, self.trainer.world_size)
        seed_noise(self.layers, self.streams.noise, epoch, *self._place())
        seed_globals(self.streams.noise, "network", epoch, *self._place())

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the cross-entropy against distributions over classes, a scalar."""
        self.passes += 1
        inputs, targets = self._changed(batch, index)
        return functional.cross_entropy(self.network(inputs), targets)

    def configure_optimizers(self) -> Any:
        """Return the optimizer of the settings, with its learning-rate schedule."""
        settings = self.training_settings
        optimizer = self.optimizer_settings.build(self.groups(), settings.learning_rate)
        updates = int(self.trainer.estimated_stepping_batches)
        course = Course(updates, updates // settings.epochs, settings.snapshots)
        schedule = schedules.parse(settings.schedule)
        scheduler = with_warm_up(schedule, optimizer, course, settings.warm_up)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Count the updates; early stopping makes them fewer."""
        self.updates = self.trainer.global_step

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what audit and cost count, so that a resumed run is counted as a whole."""
        counts = [
            {name: int(count) for name, count in layer.counts.items()} for layer in self.layers
        ]
        changes = [asdict(changes) for changes in self.changes]
        checkpoint["audit"] = {"changes": changes, "counts": counts, "passes": self.passes}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the counts."""
        self.passes = checkpoint["audit"]["passes"]
        self.changes = [BatchChanges(**changes) for changes in checkpoint["audit"]["changes"]]
        for layer, counts in zip(self.layers, checkpoint["audit"]["counts"], strict=True):
            layer.counts = counts

    def groups(self) -> Groups:
        """Return the optimizer's parameter groups, as the regularizers change them."""
        chosen = weights(self.network)
        listed = {id(parameter) for parameter in chosen}
        rest = [parameter for parameter in self.network.parameters() if id(parameter) not in listed]
        groups: Groups = [
            {"params": chosen, "weight_decay": 0.0},
            {"params": rest, "weight_decay": 0.0},
        ]
        for regularizer in self.regularizers:
            groups = regularizer.modify_optimizer(groups)
        return self._by_rate(groups)

    def _by_rate(self, groups: Groups) -> Groups:
        """Return the groups without frozen parameters, divided by the learning rate of layers."""
        if self.start is None:
            return groups
        multiples = rates(self.network, self.start)
        divided = []
        for group in groups:
            moving = [parameter for parameter in group["params"] if parameter.requires_grad]
            for multiple in sorted({multiples.get(one, 1.0) for one in moving}, reverse=True):
                chosen = [one for one in moving if multiples.get(one, 1.0) == multiple]
                rate = self.training_settings.learning_rate * multiple
                divided.append({**group, "params": chosen, "lr": rate})
        return divided

    def _place(self) -> tuple[int, ...]:
        """Return what separates the draws of a device from those of the first, by its rank."""
        return (self.global_rank,) if self.global_rank else ()

    @torch.no_grad()
    def _changed(self, batch: Batch, index: int) -> Batch:
        """Return the batch as every regularizer changes it, in order."""
        place = (self.current_epoch, index, *self._place())
        for regularizer, changes in zip(self.regularizers, self.changes, strict=True):
            if regularizer.augments:
                generator = batch_generator(regularizer.name, self.streams.augmentation, *place)
                before, batch = batch, regularizer.modify_batch(*batch, generator)
                _tally(changes, before, batch)
        return batch


def _tally(changes: BatchChanges, before: Batch, after: Batch) -> None:
    """Add the changes of one batch."""
    moved = (after[0] - before[0]).abs().flatten(1).mean(1)
    relabelled = (after[1] != before[1]).flatten(1).any(1)
    changes.batches += 1
    changes.examples += len(moved)
    changes.changed += int(((moved > 0) | relabelled).sum())
    changes.distance += float(moved.sum())
