"""Lets Lightning call what regularizers do along a training.

Separate so that regularizers need no Lightning, whose import takes longer than torch's: planning, status and prediction
read them all and train nothing.
"""

from typing import Any

import pytorch_lightning as lightning

HOOKS = [
    name
    for name, value in vars(lightning.Callback).items()
    if not name.startswith("_") and callable(value)
]


class Forwarded(lightning.Callback):
    """Has those of Lightning's hooks that `own` has, and keeps its state under the name of its class."""

    def __init__(self, own: Any):
        self.own = own
        for name in HOOKS:
            if hasattr(own, name):
                setattr(self, name, getattr(own, name))

    @property
    def state_key(self) -> str:
        """The class of `own`: one regularizer is listed once."""
        return f"{type(self.own).__module__}.{type(self.own).__qualname__}"
