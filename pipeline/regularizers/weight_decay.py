"""Weight decay, also L2 regularization or ridge: the squared norm of the weights joins the loss.

Krogh and Hertz, A Simple Weight Decay, NIPS 1991; decoupled: Loshchilov and Hutter, Decoupled
Weight Decay Regularization, ICLR 2019.

Adds strength / 2 times the squared norm to the loss, without biases and normalization: the
optimizer adds strength times the weights to their gradient. An adaptive optimizer rescales this
term together with the gradient. The decoupled form avoids that:
x <- (1 - learning rate * strength) * x before the step of the optimizer. Strengths of the two forms
are not interchangeable. The optimizer adamw always decouples.
Test rule: deterministic.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, final

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.models._sites import require_plain_weights, weights
from pipeline.regularizers._audit import AuditInputs, Groups, Measures, require_effect
from pipeline.regularizers._callback import TrainingCallback
from pipeline.regularizers._rates import groups_of
from pipeline.regularizers._regularizer import Regularizer


def half_squared_norm(parameters: Sequence[Tensor]) -> Tensor:
    """Return half the sum of squares of all parameters, a scalar.

    Krogh and Hertz, NIPS 1991.

    Args:
        parameters: Tensors of any shape, at least one.
    """
    zero = parameters[0].new_zeros(())
    return sum((parameter.square().sum() for parameter in parameters), start=zero) / 2


@final
class WeightDecay(Regularizer):
    """Settings of weight decay.

    Attributes:
        strength: The factor of half the squared norm.
        decoupled: Whether the weights themselves are shrunk, instead of their gradient changed.
    """

    name: ClassVar = "weight_decay"
    family: ClassVar = "penalty"
    needs: ClassVar = "weight other than biases and those of normalization"
    off: ClassVar = {"strength": 0}

    strength: float = Field(0.001, ge=0)
    decoupled: bool = False

    def sites(self, network: nn.Module) -> list[nn.Parameter]:
        """Return the weights, without biases and normalization."""
        return weights(network)

    def modify_model(self, network: nn.Module) -> None:
        """Check that the weights of layers are theirs.

        Raises:
            Refusal: There is no weight, or one is computed from others.
        """
        self.require_sites(network)
        require_plain_weights(network, self.name)

    def modify_optimizer(self, groups: Groups) -> Groups:
        """Set the decay of the first group, the weights, unless it is decoupled."""
        if self.decoupled:
            return groups
        return [{**groups[0], "weight_decay": self.strength}, *groups[1:]]

    def callbacks(self) -> list[TrainingCallback]:
        """Return a new decay of the weights themselves, if decoupled."""
        return [DecoupledDecay(self.strength)] if self.decoupled else []

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return the tensors decayed, and what the decay amounts to.

        `share_of_loss`: the penalty's share of penalty + training loss. Of decoupled decay, which
        is no part of a loss, `decayed`: the share of the first weights that it alone removes.

        Raises:
            NoEffect: No weight was decayed.
        """
        if self.decoupled:
            (decay,) = inputs.callbacks
            require_effect(
                decay.left < 1, 0, f"{self.name}: no weight is decayed at strength {self.strength}"
            )
            return {"tensors": len(weights(inputs.network)), "decayed": 1 - decay.left}
        decayed = [group for group in inputs.groups if group["weight_decay"] == self.strength]
        tensors = sum(len(group["params"]) for group in decayed)
        require_effect(
            tensors > 0, 0, f"{self.name}: no weight is decayed at strength {self.strength}"
        )
        penalty = self.strength * float(half_squared_norm(weights(inputs.network)).detach())
        return {"tensors": tensors, "share_of_loss": penalty / (penalty + inputs.training_loss)}


@final
class DecoupledDecay(TrainingCallback):
    """A callback that shrinks the weights after the backward pass, before the optimizer's step."""

    state: ClassVar = ("left",)

    def __init__(self, strength: float):
        self.strength = strength
        self.left = 1.0  # of the first weights of the last layer, had nothing else changed them

    def on_train_start(self, trainer: Any, task: Any) -> None:
        """Look up the weights, and their groups."""
        (optimizer,) = trainer.optimizers
        self.weights = weights(task.network)
        self.groups = groups_of(optimizer)

    @torch.no_grad()
    def on_before_optimizer_step(self, trainer: Any, task: Any) -> None:
        """Multiply every weight by 1 - learning rate * strength."""
        for weight in self.weights:
            weight.mul_(1 - self.groups[weight]["lr"] * self.strength)
        first = self.groups[self.weights[-1]]
        self.left *= 1 - first["lr"] * self.strength
