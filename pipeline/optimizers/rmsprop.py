"""RMSProp: the rate of each weight falls with a running mean of its squared gradients.

Tieleman and Hinton, Neural Networks for Machine Learning, lecture 6.5, 2012.

s <- alpha * s + (1 - alpha) * g^2; x <- x - rate * g / (sqrt(s) + eps).
"""

from typing import ClassVar, final

import torch
from pydantic import Field

from pipeline.optimizers._optimizer import Optimizer
from pipeline.regularizers._audit import Groups


@final
class Rmsprop(Optimizer):
    """Settings of RMSProp.

    Attributes:
        alpha: The decay of the running mean.
        eps: What is added to the root.
    """

    name: ClassVar = "rmsprop"

    alpha: float = Field(0.99, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)

    def build(self, groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
        """Return torch's RMSprop, which has no fused kernel."""
        return torch.optim.RMSprop(
            groups,
            lr=learning_rate,
            alpha=self.alpha,
            eps=self.eps,
            weight_decay=0,
            momentum=0,
            centered=False,
        )
