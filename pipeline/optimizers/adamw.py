"""AdamW: Adam whose weight decay shrinks the weights themselves, x <- (1 - rate * strength) * x.

Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.

It decays nothing unless an arm has weight_decay, and is Adam without it. With weight_decay it is
`adam` with `weight_decay: {decoupled: true}`; under AdamW both values of `decoupled` are this.
"""

from typing import Any, ClassVar, final

import torch
from pydantic import Field

from pipeline.optimizers._optimizer import Optimizer
from pipeline.regularizers._audit import Groups


@final
class AdamW(Optimizer):
    """Settings of AdamW; AMSGrad is off.

    Attributes:
        beta1: The decay of the running mean of gradients.
        beta2: The decay of the running mean of squared gradients.
        eps: What is added to the root.
    """

    name: ClassVar = "adamw"
    decouples: ClassVar = True

    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)

    def build(self, groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
        """Return torch's AdamW without its default decay."""
        return torch.optim.AdamW(
            groups,
            lr=learning_rate,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            weight_decay=0,
            amsgrad=False,
            fused=True,
        )

    def effect(self) -> dict[str, Any]:
        """Return Adam's values: the decay is that of the regularizer."""
        return super().effect() | {"name": "adam", "bias_correction": True}
