"""Keep weights along one training, evenly spaced: an ensemble under a schedule of cycles.

Huang, Li, Pleiss, Liu, Hopcroft and Weinberger, Snapshot Ensembles: Train 1, Get M for Free, ICLR
2017. Under any other schedule they are plain checkpoints.
"""

from typing import Any, ClassVar, final

from torch import Tensor

from pipeline.regularizers._callback import TrainingCallback
from pipeline.schedules._cycles import ends
from pipeline.schedules._schedule import warm_up_updates


@final
class Snapshots(TrainingCallback):
    """Keeps the network's weights at `ends` after the warm-up, in their order."""

    state: ClassVar = ("states",)

    def __init__(self, snapshots: int, warm_up: float = 0.0):
        self.snapshots = snapshots
        self.warm_up = warm_up
        self.states: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: Any, task: Any) -> None:
        """Keep a copy at an end."""
        updates = int(trainer.estimated_stepping_batches)
        start = warm_up_updates(self.warm_up, updates)
        if trainer.global_step - start in ends(updates - start, self.snapshots):
            state = task.network.state_dict()
            copied = {name: value.detach().clone() for name, value in state.items()}
            self.states.append(copied)

    def kept_weights(self) -> dict[str, list[dict[str, Tensor]]]:
        """Return the weights that were kept, in order."""
        return {"snapshots": self.states}
