"""AdaGrad: the rate of each weight falls with the sum of its squared gradients.

Duchi, Hazan and Singer, Adaptive Subgradient Methods, JMLR 12, 2011.

s <- s + g^2; x <- x - rate * g / (sqrt(s) + eps).
"""

from typing import ClassVar, final

import torch
from pydantic import Field

from pipeline.optimizers._optimizer import Optimizer, on_cpu
from pipeline.regularizers._audit import Groups


@final
class Adagrad(Optimizer):
    """Settings of AdaGrad.

    Attributes:
        eps: What is added to the root.
    """

    name: ClassVar = "adagrad"

    eps: float = Field(1e-10, gt=0)

    def build(self, groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
        """Return torch's Adagrad, whose fused kernel is for the CPU alone."""
        return torch.optim.Adagrad(
            groups,
            lr=learning_rate,
            lr_decay=0,
            weight_decay=0,
            initial_accumulator_value=0,
            eps=self.eps,
            fused=on_cpu(groups) or None,
        )
