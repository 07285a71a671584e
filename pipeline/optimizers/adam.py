"""Adam: momentum, divided by the root of a running mean of squared gradients.

Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.

m <- beta1 * m + (1 - beta1) * g; s <- beta2 * s + (1 - beta2) * g^2;
x <- x - rate * m' / (sqrt(s') + eps), where m' = m / (1 - beta1^t) and s' = s / (1 - beta2^t)
correct for the start at zero.
"""

from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor

from pipeline.optimizers._optimizer import Optimizer
from pipeline.regularizers._audit import Groups

ENDLESS = 1e30  # a number of steps t at which 1 - beta^t is 1 to the last bit


@final
class Adam(Optimizer):
    """Settings of Adam; AMSGrad is off.

    Attributes:
        beta1: The decay of the running mean of gradients.
        beta2: The decay of the running mean of squared gradients.
        eps: What is added to the root.
        bias_correction: false: m and s are used as they are, so that the first step is
            (1 - beta1) / sqrt(1 - beta2) times the corrected one.
    """

    name: ClassVar = "adam"

    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    bias_correction: bool = True

    def build(self, groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
        """Return torch's Adam."""
        optimizer = torch.optim.Adam(
            groups,
            lr=learning_rate,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            weight_decay=0,
            amsgrad=False,
            fused=True,
            decoupled_weight_decay=False,
        )
        if not self.bias_correction:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    optimizer.state[parameter].update(_uncorrected(parameter))
        return optimizer


def _uncorrected(parameter: Tensor) -> dict[str, Tensor]:
    """Return a state that begins as torch's does, but after endless steps."""
    step = torch.full((), ENDLESS, dtype=torch.float32, device=parameter.device)
    return {
        "step": step,
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }
