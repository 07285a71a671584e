"""Lightning's calls, passed on to the callbacks of regularizers."""

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
        """The class of `own`: a run has one of each."""
        return f"{type(self.own).__module__}.{type(self.own).__qualname__}"

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.own.on_train_start(trainer, pl_module)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *step: Any) -> None:
        self.own.on_train_batch_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.own.on_train_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.own.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return self.own.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.own.load_state_dict(state_dict)
