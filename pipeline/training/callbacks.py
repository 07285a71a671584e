"""Pass Lightning's calls on to the callbacks of regularizers."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as lightning

from pipeline.regularizers._callback import TrainingCallback


class Forwarded(lightning.Callback):
    """Calls the hooks of `own` and keeps its state in checkpoints under the name of its class."""

    def __init__(self, own: TrainingCallback):
        self.own = own

    @property
    def state_key(self) -> str:
        """Return the name of the class of `own`: a run has one of each."""
        return f"{type(self.own).__module__}.{type(self.own).__qualname__}"

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Pass the start of training on."""
        self.own.on_train_start(trainer, pl_module)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *step: Any) -> None:
        """Pass the end of an update on."""
        self.own.on_train_batch_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Pass the end of an epoch on."""
        self.own.on_train_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Pass the end of training on."""
        self.own.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of `own` for a checkpoint."""
        return self.own.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state of `own` from a checkpoint."""
        self.own.load_state_dict(state_dict)
