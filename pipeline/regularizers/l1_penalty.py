"""L1 penalty, also the lasso (Tibshirani, Regression Shrinkage and Selection via the Lasso, JRSS B 58, 1996).

Adds strength times the sum of absolute weights to the objective, by a proximal step after every update (Daubechies et
al., Comm. Pure Appl. Math. 57, 2004): a subgradient never gives exact zeros, the proximal step does. Acts on weights,
not on biases or normalization. Test rule: deterministic.
"""

from typing import Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from pipeline.models._sites import weights
from pipeline.regularizers.base import Evidence, Measures, Regularizer, require_effect
from pipeline.runtime.errors import Refusal


def soft_threshold(values: Tensor, threshold: float) -> Tensor:
    """sign(values) * max(|values| - threshold, 0): the proximal step of threshold times the sum of absolute values."""
    return functional.softshrink(values, threshold)


class L1Penalty(Regularizer):
    """`strength` is the factor of the sum of absolute weights."""

    name: ClassVar[str] = "l1_penalty"

    strength: float = Field(0.001, ge=0)

    @classmethod
    def neutral(cls) -> Self:
        """No shrinkage."""
        return cls(strength=0)

    def modify_model(self, network: nn.Module) -> None:
        """Changes nothing. Raises Refusal where there are no weights."""
        if not weights(network):
            raise Refusal(
                "l1_penalty: no weights found; looked for parameters other than biases and those of normalization"
            )

    def callbacks(self) -> list[Any]:
        """The proximal step."""
        return [ProximalStep(self.strength)]

    def audit(self, evidence: Evidence) -> Measures:
        """Share of weights that are exactly 0, and the penalty's share of penalty + training loss at the end."""
        (step,) = evidence.callbacks
        require_effect(
            step.shrunk > 0,
            0,
            f"l1_penalty: {step.updates} updates shrank no weight at strength {self.strength}",
        )
        found = [parameter.detach() for parameter in weights(evidence.network)]
        zeros = sum(int((values == 0).sum()) for values in found) / sum(
            values.numel() for values in found
        )
        penalty = self.strength * sum(float(values.abs().sum()) for values in found)
        return {"zeros": zeros, "share_of_loss": penalty / (penalty + evidence.training_loss)}


class ProximalStep:
    """Shrinks the weights right after the optimizer's step, before the learning rate moves on."""

    def __init__(self, strength: float):
        self.strength = strength
        self.updates = 0
        self.shrunk = 0  # tensors, over all updates

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Hooks the step into the optimizer."""
        (optimizer,) = trainer.optimizers
        chosen = weights(pl_module.network)
        optimizer.register_step_post_hook(
            lambda stepped, *_: self.shrink(chosen, step_length(stepped) * self.strength)
        )

    @torch.no_grad()
    def shrink(self, parameters: list[nn.Parameter], threshold: float) -> None:
        """One proximal step, in place."""
        for parameter in parameters:
            shrunk = soft_threshold(parameter, threshold)
            self.shrunk += not torch.equal(shrunk, parameter)
            parameter.copy_(shrunk)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """What the audit counts, for a checkpoint."""
        return {"updates": self.updates, "shrunk": self.shrunk}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the counts up again."""
        self.updates, self.shrunk = state_dict["updates"], state_dict["shrunk"]


def step_length(optimizer: Optimizer) -> float:
    """How far a constant gradient is followed in the step just taken: learning rate / (1 - momentum).

    Without the momentum's part the strength would count for 1 - momentum of what it says, since the gradient of the
    loss is followed that much further than the learning rate: at a minimum both pulls have to be equal.
    """
    group = optimizer.param_groups[0]
    return float(group["lr"]) / (1 - float(group.get("momentum", 0)))
