"""Record the learning curve of a run: points scored clean and deterministic, with norms.

Scoring moves no stream and changes no weight: a run with more points is the same run.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data.loader import ImageTensor
from pipeline.prediction.members import deterministic
from pipeline.records.history import points
from pipeline.regularizers._noise import mode
from pipeline.training.norms import Norms

Row = dict[str, Any]


class Diverged(Exception):
    """The loss is no longer a finite number, which is a result and not an error."""


@dataclass(frozen=True)
class Examples:
    """Images (N, channels, height, width) and labels (N,) of one split."""

    split: str
    images: ImageTensor
    labels: Tensor


def score(network: torch.nn.Module, examples: Examples) -> dict[str, float]:
    """Return mean cross-entropy (natural log) and accuracy (fraction), deterministic."""
    logits = deterministic(network, examples.images)[0]
    loss = functional.cross_entropy(logits, examples.labels)
    accuracy = (logits.argmax(1) == examples.labels).float().mean()
    return {"loss": float(loss), "accuracy": float(accuracy)}


class Curves(lightning.Callback):
    """Scores every split at about `points` epochs, always at the last one.

    Raises:
        Diverged: A loss is not finite.
    """

    def __init__(self, splits: tuple[Examples, ...], points: int):
        self.splits = splits
        self.points = points
        self.rows: list[Row] = []
        self.norms: Norms | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Find the weights whose norms are measured."""
        self.norms = Norms(pl_module.network)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the weights before the last update of an epoch that has a point."""
        if self.norms and self._is_point(trainer) and batch_idx + 1 == trainer.num_training_batches:
            self.norms.begin()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Add one row per split if this epoch has a point; that of the training has the norms."""
        if not self._is_point(trainer):
            return
        epoch = trainer.current_epoch + 1
        common = {
            "epoch": epoch,
            "updates": trainer.global_step,
            "learning_rate": max(group["lr"] for group in trainer.optimizers[0].param_groups),
        }
        measured = self.norms.measured() if self.norms else {}
        network = pl_module.network
        with mode(network, training=False, sampling=False):
            scores = {examples.split: score(network, examples) for examples in self.splits}
        pl_module.scores, pl_module.scored_epoch = scores, epoch
        for split, values in scores.items():
            if not math.isfinite(values["loss"]):
                raise Diverged(f"the {split} loss is {values['loss']} after epoch {epoch}")
            norms = measured if split == "train" else {}
            self.rows.append({**common, "split": split, **values, **norms})
        for logger, point in itertools.product(trainer.loggers, points(self.rows[-len(scores) :])):
            logger.log_metrics(point, step=epoch)

    def _is_point(self, trainer: lightning.Trainer) -> bool:
        """Return whether the present epoch has a point."""
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or 0
        return epoch % math.ceil(epochs / self.points) == 0 or epoch >= epochs

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows up to the checkpoint; later ones are scored again."""
        self.rows = list(state_dict["rows"])
