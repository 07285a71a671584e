"""The learning curve of a run: about ten points, scored clean and deterministic.

Separate from the task because scoring moves no stream and changes no weight: a run with more points is
the same run.
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
from pipeline.regularizers.base import mode

Row = dict[str, Any]


class Diverged(Exception):
    """The loss is no longer a finite number: a result of its own, not an error."""


@dataclass(frozen=True)
class Examples:
    """Images (N, channels, height, width) and labels (N,) of one split."""

    split: str
    images: Tensor
    labels: Tensor


def score(network: torch.nn.Module, examples: Examples) -> dict[str, float]:
    """Mean cross-entropy (natural log) and accuracy (fraction), deterministic."""
    logits = deterministic(network, examples.images)[0]
    loss = functional.cross_entropy(logits, examples.labels)
    accuracy = (logits.argmax(1) == examples.labels).float().mean()
    return {"loss": float(loss), "accuracy": float(accuracy)}


class Curves(lightning.Callback):
    """Scores every split at about `points` epochs, the last one always. Raises Diverged on a loss that is not finite."""

    def __init__(self, splits: tuple[Examples, ...], points: int):
        self.splits = splits
        self.points = points
        self.rows: list[Row] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Adds one row per split where this epoch is due."""
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or 0
        if epoch % math.ceil(epochs / self.points) and epoch < epochs:
            return
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        with mode(pl_module.network, training=False, sampling=False):
            scored = [
                (examples.split, score(pl_module.network, examples)) for examples in self.splits
            ]
        pl_module.scores, pl_module.scored_epoch = dict(scored), epoch
        for split, scores in scored:
            if not math.isfinite(scores["loss"]):
                raise Diverged(f"the {split} loss is {scores['loss']} after epoch {epoch}")
            self.rows.append(
                {
                    "epoch": epoch,
                    "updates": trainer.global_step,
                    "split": split,
                    "learning_rate": rate,
                    **scores,
                }
            )
        for logger, point in itertools.product(trainer.loggers, points(self.rows[-len(scored) :])):
            logger.log_metrics(point, step=epoch)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, for a checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The rows up to the checkpoint; later ones are scored again."""
        self.rows = list(state_dict["rows"])
