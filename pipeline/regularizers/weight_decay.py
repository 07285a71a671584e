"""Weight decay, also L2 regularization or ridge (Krogh and Hertz, A Simple Weight Decay, NIPS 1991).

Adds strength / 2 times the squared norm of the weights to the loss, not of biases or normalization; for
plain SGD the optimizer's decay is exactly the gradient of that. Test rule: deterministic.
"""

from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor, nn

from pipeline.models._sites import weights
from pipeline.regularizers.base import Evidence, Groups, Measures, Regularizer, require_effect


def half_squared_norm(parameters: list[nn.Parameter]) -> Tensor:
    """Half the sum of squares of all parameters, a scalar."""
    return (
        sum(
            (parameter.square().sum() for parameter in parameters),
            start=parameters[0].new_zeros(()),
        )
        / 2
    )


class WeightDecay(Regularizer):
    """`strength` is the factor of half the squared norm."""

    name: ClassVar[str] = "weight_decay"

    strength: float = Field(0.001, ge=0)

    @classmethod
    def neutral(cls) -> Self:
        """No decay."""
        return cls(strength=0)

    def modify_optimizer(self, groups: Groups) -> Groups:
        """Sets the decay of the first group, the weights."""
        return [{**groups[0], "weight_decay": self.strength}, *groups[1:]]

    def audit(self, evidence: Evidence) -> Measures:
        """Tensors decayed, and the penalty's share of penalty + training loss at the end."""
        decayed = [group for group in evidence.groups if group["weight_decay"] == self.strength]
        tensors = sum(len(group["params"]) for group in decayed)
        require_effect(
            tensors > 0, 0, f"weight_decay: no weight is decayed at strength {self.strength}"
        )
        penalty = self.strength * float(half_squared_norm(weights(evidence.network)).detach())
        return {"tensors": tensors, "share_of_loss": penalty / (penalty + evidence.training_loss)}
