"""Record the learning curve of a run: about ten points, scored clean and deterministic.

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

from pipeline.prediction.members import deterministic
from pipeline.records.history import points
from pipeline.regularizers._noise import mode

Row = dict[str, Any]


class Diverged(Exception):
    """The loss is no longer a finite number, which is a result and not an error."""


@dataclass(frozen=True)
class Examples:
    """Images (N, channels, height, width) and labels (N,) of one split."""

    split: str
    images: Tensor
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

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Add one row per split if this epoch has a point."""
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or 0
        if epoch % math.ceil(epochs / self.points) and epoch < epochs:
            return
        common = {
            "epoch": epoch,
            "updates": trainer.global_step,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
        }
        network = pl_module.network
        with mode(network, training=False, sampling=False):
            scores = {examples.split: score(network, examples) for examples in self.splits}
        pl_module.scores, pl_module.scored_epoch = scores, epoch
        for split, values in scores.items():
            if not math.isfinite(values["loss"]):
                raise Diverged(f"the {split} loss is {values['loss']} after epoch {epoch}")
            self.rows.append({**common, "split": split, **values})
        for logger, point in itertools.product(trainer.loggers, points(self.rows[-len(scores) :])):
            logger.log_metrics(point, step=epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows up to the checkpoint; later ones are scored again."""
        self.rows = list(state_dict["rows"])
