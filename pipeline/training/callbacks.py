"""Pass Lightning's calls on to the callbacks of regularizers."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as lightning
from torch.optim import Optimizer

from pipeline.regularizers._callback import TrainingCallback


class Forwarded(lightning.Callback):
    """Calls the hooks of a callback and keeps its state in checkpoints by the name of its class."""

    def __init__(self, callback: TrainingCallback):
        self.callback = callback

    @property
    def state_key(self) -> str:
        """Return the name of the class of `callback`: a run has one of each."""
        return f"{type(self.callback).__module__}.{type(self.callback).__qualname__}"

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Pass the start of training on."""
        self.callback.on_train_start(trainer, pl_module)

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: Any, optimizer: Optimizer
    ) -> None:
        """Pass the start of an update on."""
        self.callback.on_before_optimizer_step(trainer, pl_module)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *step: Any) -> None:
        """Pass the end of an update on."""
        self.callback.on_train_batch_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Pass the end of an epoch on."""
        self.callback.on_train_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Pass the end of training on."""
        self.callback.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of `callback` for a checkpoint."""
        return self.callback.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state of `callback` from a checkpoint."""
        self.callback.load_state_dict(state_dict)
