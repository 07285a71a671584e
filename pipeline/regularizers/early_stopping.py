"""Early stopping (Prechelt, Early Stopping - But When?, 1998): training ends once validation no longer improves.

Looks at the points of the learning curve; the weights of the best point are restored. It couples fitting and
regularizing: a stopped run has had fewer updates, and the learning-rate schedule was made for all of them.
Test rule: deterministic, with the restored weights.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from pipeline.regularizers.base import Evidence, Measures, Regularizer, require_effect

Weights = dict[str, Tensor]


def improved(score: float, best: float | None, monitor: str) -> bool:
    """Whether a validation score beats the best so far: lower is better for a loss, higher for an accuracy."""
    return best is None or (score < best if monitor == "loss" else score > best)


class EarlyStopping(Regularizer):
    """`patience`: points of the curve without improvement that are waited for; `monitor`: the validation score."""

    name: ClassVar[str] = "early_stopping"

    patience: int = Field(2, ge=1)
    monitor: Literal["loss", "accuracy"] = "loss"

    def callbacks(self) -> list[Any]:
        """The one that stops and restores."""
        return [Stopper(self.patience, self.monitor)]

    def audit(self, evidence: Evidence) -> Measures:
        """Whether it was armed (saw any point) and fired (stopped), and the epoch whose weights were kept.

        It may rightly never fire, but it has to look, and the weights it kept have to be those at the end.
        """
        (stopper,) = evidence.callbacks
        require_effect(
            stopper.best is not None,
            0,
            "early_stopping: no point of the learning curve was looked at",
        )
        final = evidence.network.state_dict()
        kept = all(
            torch.equal(final[name], value.to(final[name].device))
            for name, value in stopper.weights.items()
        )
        require_effect(
            kept,
            0,
            f"early_stopping: the weights at the end are not those of epoch {stopper.best_epoch}",
        )
        return {
            "armed": float(stopper.best is not None),
            "fired": float(stopper.fired),
            "best_epoch": float(stopper.best_epoch),
        }


class Stopper:
    """Keeps the best weights seen at points of the curve, stops when patience is over, restores them at the end."""

    def __init__(self, patience: int, monitor: str):
        self.patience, self.monitor = patience, monitor
        self.best: float | None = None
        self.best_epoch = self.waited = 0
        self.fired = False
        self.weights: Weights = {}

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Looks at a new point of the curve, where this epoch made one."""
        if pl_module.scored_epoch != trainer.current_epoch + 1:
            return
        score = pl_module.scores["validation"][self.monitor]
        if improved(score, self.best, self.monitor):
            self.best, self.best_epoch, self.waited = score, trainer.current_epoch + 1, 0
            self.weights = {
                name: value.detach().clone()
                for name, value in pl_module.network.state_dict().items()
            }
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.fired = trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Restores the best weights."""
        if self.weights:
            pl_module.network.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {
            name: getattr(self, name)
            for name in ("best", "best_epoch", "waited", "fired", "weights")
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up where the checkpoint was written."""
        for name, value in state_dict.items():
            setattr(self, name, value)
