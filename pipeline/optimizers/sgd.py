"""Stochastic gradient descent, with momentum and Nesterov's look-ahead.

Sutskever, Martens, Dahl and Hinton, On the Importance of Initialization and Momentum in Deep
Learning, ICML 2013.

v <- momentum * v + g; x <- x - rate * v, or with Nesterov x <- x - rate * (g + momentum * v). The
gradient is not multiplied by 1 - momentum as in the other form, whose learning rates are therefore
1 / (1 - momentum) times as large.
"""

from typing import Any, ClassVar, final

import torch
from pydantic import Field

from pipeline.optimizers._optimizer import Optimizer
from pipeline.regularizers._audit import Groups


@final
class Sgd(Optimizer):
    """Settings of stochastic gradient descent.

    Attributes:
        momentum: The share of the last step that is taken again; 0 for plain descent.
        nesterov: Whether the gradient is that of the point to which momentum leads.
    """

    name: ClassVar = "sgd"
    also_called: ClassVar = ("momentum", "nesterov", "gd")

    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True

    def build(self, groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
        """Return torch's SGD, all momenta at zero."""
        optimizer = torch.optim.SGD(
            groups,
            lr=learning_rate,
            momentum=self.momentum,
            dampening=0,
            weight_decay=0,
            nesterov=self.nesterov and self.momentum > 0,
            fused=True,
        )
        if self.momentum > 0:
            start_momenta(optimizer)
        return optimizer

    def step_length(self, learning_rate: float) -> float:
        """Return learning rate / (1 - momentum): every gradient is followed in all later steps."""
        return learning_rate / (1 - self.momentum)

    def effect(self) -> dict[str, Any]:
        """Return the values; without momentum nothing is looked ahead."""
        return super().effect() | {"nesterov": self.nesterov and self.momentum > 0}


def start_momenta(optimizer: torch.optim.Optimizer) -> None:
    """Start all momenta at zero, which leaves the optimizer's steps the same bit for bit.

    Torch's fused kernel fails if a weight gets its first gradient later than others, as in a
    residual branch that was skipped.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
