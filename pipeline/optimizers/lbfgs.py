"""L-BFGS: a quasi-Newton method that builds the curvature from its last steps.

Liu and Nocedal, On the Limited Memory BFGS Method for Large Scale Optimization, Mathematical
Programming 45, 1989; line search by the strong Wolfe conditions.

One update makes up to `max_iter` iterations, each with several evaluations of the loss, all on the
same batch. The learning rate is the first step length that a line search tries: 1 is Newton's.
"""

from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor

from pipeline.optimizers._optimizer import Optimizer
from pipeline.regularizers._audit import Groups

MEMORY = "its curvature is that of steps along the gradient of the loss alone"


@final
class Lbfgs(Optimizer):
    """Settings of L-BFGS.

    Attributes:
        max_iter: Iterations of one update, at most.
        max_eval: Evaluations of the loss in one update, at most; line searches included.
        history_size: Steps from which the curvature is built.
    """

    name: ClassVar = "lbfgs"
    also_called: ClassVar = ("l_bfgs", "l-bfgs", "bfgs")
    clashes: ClassVar = {"weight_decay": MEMORY, "l1_penalty": MEMORY, "max_norm": MEMORY}
    full_batch: ClassVar = True

    max_iter: int = Field(20, ge=1)
    max_eval: int = Field(25, ge=2)
    history_size: int = Field(100, ge=1)

    def build(self, groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
        """Return torch's LBFGS, which has one group of all parameters."""
        parameters = [parameter for group in groups for parameter in group["params"]]
        for parameter in parameters:
            if parameter.requires_grad:  # torch flattens gradients, which needs them contiguous
                parameter.register_post_accumulate_grad_hook(_make_gradient_contiguous)
        return torch.optim.LBFGS(
            parameters,
            lr=learning_rate,
            max_iter=self.max_iter,
            max_eval=self.max_eval,
            tolerance_grad=1e-7,
            tolerance_change=1e-9,
            history_size=self.history_size,
            line_search_fn="strong_wolfe",
        )


def _make_gradient_contiguous(parameter: Tensor) -> None:
    """Lay the gradient of a kernel out as torch does by default, whatever that of the kernel."""
    if parameter.grad is not None:
        parameter.grad = parameter.grad.contiguous()
