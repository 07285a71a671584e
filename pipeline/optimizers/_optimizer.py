"""Define the interface of an optimizer: its settings, what it builds, and what it clashes with."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from pipeline.config.settings import Settings
from pipeline.regularizers._audit import Groups


class Optimizer(Settings, ABC):
    """Settings of an optimizer; one concrete class per file of this folder.

    Attributes:
        name: The name in YAML, which is the name of the file.
        also_called: Its names elsewhere, for the error message for an unknown name.
        clashes: Regularizers that it cannot train with, each with the reason.
        full_batch: Whether it needs the same loss in every evaluation: all training images in one
            batch, and nothing drawn.
        decouples: Whether it applies the weight decay of its groups to the weights themselves, and
            not to their gradient.
    """

    name: ClassVar[str]
    also_called: ClassVar[tuple[str, ...]] = ()
    clashes: ClassVar[Mapping[str, str]] = {}
    full_batch: ClassVar[bool] = False
    decouples: ClassVar[bool] = False

    @abstractmethod
    def build(self, groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
        """Return a new optimizer.

        Args:
            groups: Parameter groups, each with its `weight_decay`.
            learning_rate: The learning rate of all groups, which a schedule changes.
        """

    def step_length(self, learning_rate: float) -> float | None:
        """Return how far a constant gradient is followed in one step, in units of the gradient.

        None by default: the length differs from weight to weight.
        """
        return None

    def effect(self) -> dict[str, Any]:
        """Return plain values that are equal for settings which take the same steps."""
        return {"name": self.name, **self.model_dump(mode="json")}


def on_cpu(groups: Groups) -> bool:
    """Return whether all parameters are on the CPU."""
    return all(parameter.device.type == "cpu" for group in groups for parameter in group["params"])
