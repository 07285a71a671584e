"""Weights kept along one training, and the cyclic cosine schedule that makes members of them.

Huang, Li, Pleiss, Liu, Hopcroft and Weinberger, Snapshot Ensembles: Train 1, Get M for Free, ICLR 2017. Separate from
the task because keeping weights is no part of a step: under any other schedule they are plain checkpoints.
"""

import math
from typing import Any

import pytorch_lightning as lightning
from torch import Tensor

KIND = "snapshot"


def ends(updates: int, snapshots: int) -> list[int]:
    """The updates after which weights are kept: `snapshots` of them, as evenly as whole numbers allow, the last at the end.

    Where the length divides, these are the paper's cycles of ceil(T / M); where it does not, no cycle is cut short, so
    every one cools down as far.
    """
    return [updates * number // snapshots for number in range(1, snapshots + 1)]


def cyclic_cosine(update: int, updates: int, cycles: int) -> float:
    """The share of the highest learning rate at `update` (from 0): (cos(pi t / C) + 1) / 2 at step t of a cycle of C."""
    last = [0, *ends(updates, cycles)]
    cycle = next((number for number in range(1, cycles) if update < last[number]), cycles)
    return (
        math.cos(math.pi * (update - last[cycle - 1]) / (last[cycle] - last[cycle - 1])) + 1
    ) / 2


class Snapshots(lightning.Callback):
    """Keeps the network's weights at `ends`; `kept()` gives them as snapshot_1, snapshot_2 and so on."""

    def __init__(self, snapshots: int):
        self.snapshots = snapshots
        self.states: dict[str, dict[str, Tensor]] = {}

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keeps a copy where an end is reached."""
        kept_at = ends(int(trainer.estimated_stepping_batches), self.snapshots)
        if trainer.global_step in kept_at:
            network: Any = pl_module.network
            state = {name: value.detach().clone() for name, value in network.state_dict().items()}
            self.states[f"{KIND}_{kept_at.index(trainer.global_step) + 1}"] = state

    def kept(self) -> dict[str, dict[str, Tensor]]:
        """Name -> state of the network."""
        return self.states

    def state_dict(self) -> dict[str, Any]:
        """The weights kept so far, for a checkpoint."""
        return {"states": self.states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them up again."""
        self.states = state_dict["states"]
