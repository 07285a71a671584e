"""Early stopping: training ends once validation no longer improves.

Prechelt, Early Stopping - But When?, 1998.

Checks the points of the learning curve, and restores the weights of the best point. It couples
fitting and regularizing: a stopped run has fewer updates, but its learning-rate schedule was made
for the whole training.
Test rule: deterministic, with the restored weights.
"""

from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field
from torch import Tensor

from pipeline.regularizers._audit import AuditInputs, Measures, require_effect
from pipeline.regularizers._callback import TrainingCallback
from pipeline.regularizers._regularizer import Regularizer


def improved(score: float, best: float | None, monitor: str) -> bool:
    """Return whether a validation score beats the best so far.

    Args:
        score: The score.
        best: The best so far, None for the first.
        monitor: loss, better when lower, or accuracy, better when higher.
    """
    return best is None or (score < best if monitor == "loss" else score > best)


@final
class EarlyStopping(Regularizer):
    """Settings of early stopping.

    Attributes:
        patience: Points of the curve without improvement before training stops.
        monitor: The validation score, loss or accuracy.
    """

    name: ClassVar = "early_stopping"
    family: ClassVar = "training"
    activity: ClassVar = "fired"

    patience: int = Field(2, ge=1)
    monitor: Literal["loss", "accuracy"] = "loss"

    def callbacks(self) -> list[TrainingCallback]:
        """Return a new stopper."""
        return [Stopper(self.patience, self.monitor)]

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return whether it was armed (saw any point) and fired (stopped), and the epoch kept.

        It may validly never fire, but it has to look, and the weights it kept have to be those at
        the end.

        Raises:
            NoEffect: No point of the learning curve was seen, or the final weights are not those
                that were kept.
        """
        (stopper,) = inputs.callbacks
        require_effect(
            stopper.best is not None,
            0,
            f"{self.name}: no point of the learning curve was looked at",
        )
        final_state = inputs.network.state_dict()
        kept = all(
            torch.equal(final_state[name], value.to(final_state[name].device))
            for name, value in stopper.weights.items()
        )
        require_effect(
            kept,
            0,
            f"{self.name}: the weights at the end are not those of epoch {stopper.best_epoch}",
        )
        return {
            "armed": 1.0,
            "fired": float(stopper.fired),
            "best_epoch": float(stopper.best_epoch),
        }


@final
class Stopper(TrainingCallback):
    """A callback that keeps the best weights of the curve and stops once patience is exhausted."""

    state: ClassVar = ("best", "best_epoch", "waited", "fired", "weights")

    def __init__(self, patience: int, monitor: str):
        self.patience, self.monitor = patience, monitor
        self.best: float | None = None
        self.best_epoch = self.waited = 0
        self.fired = False
        self.weights: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: Any, task: Any) -> None:
        """Compare a new point of the curve, if this epoch made one."""
        if task.scored_epoch != trainer.current_epoch + 1:
            return
        score = task.scores["validation"][self.monitor]
        if improved(score, self.best, self.monitor):
            self.best, self.best_epoch, self.waited = score, trainer.current_epoch + 1, 0
            state = task.network.state_dict()
            self.weights = {name: value.detach().clone() for name, value in state.items()}
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.fired = trainer.should_stop = True

    def on_train_end(self, trainer: Any, task: Any) -> None:
        """Restore the best weights."""
        if self.weights:
            task.network.load_state_dict(self.weights)
