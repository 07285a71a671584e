"""Keep weights along one training, and schedule the cyclic cosine that makes them an ensemble.

Huang, Li, Pleiss, Liu, Hopcroft and Weinberger, Snapshot Ensembles: Train 1, Get M for Free, ICLR
2017. Under any other schedule they are plain checkpoints.
"""

import math
from typing import Any, ClassVar, final

from torch import Tensor

from pipeline.regularizers._callback import TrainingCallback


def ends(updates: int, snapshots: int) -> list[int]:
    """Return the updates after which weights are kept, evenly spaced, the last one at the end.

    If the length divides, these are the paper's cycles of ceil(T / M); if it does not, no cycle is
    cut short, so that each cools down as far.
    """
    return [updates * number // snapshots for number in range(1, snapshots + 1)]


def cyclic_cosine(update: int, updates: int, cycles: int) -> float:
    """Return the share of the highest learning rate at `update`, counted from 0.

    (cos(pi t / C) + 1) / 2 at step t of a cycle of C updates.
    """
    bounds = [0, *ends(updates, cycles)]
    cycle = next((number for number in range(1, cycles) if update < bounds[number]), cycles)
    start, end = bounds[cycle - 1], bounds[cycle]
    return (math.cos(math.pi * (update - start) / (end - start)) + 1) / 2


@final
class Snapshots(TrainingCallback):
    """Keeps the network's weights at `ends`, in their order."""

    state: ClassVar = ("states",)

    def __init__(self, snapshots: int):
        self.snapshots = snapshots
        self.states: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: Any, task: Any) -> None:
        """Keep a copy at an end."""
        kept_at = ends(int(trainer.estimated_stepping_batches), self.snapshots)
        if trainer.global_step in kept_at:
            state = task.network.state_dict()
            copied = {name: value.detach().clone() for name, value in state.items()}
            self.states.append(copied)

    def kept_weights(self) -> dict[str, list[dict[str, Tensor]]]:
        """Return the weights that were kept, in order."""
        return {"snapshots": self.states}
