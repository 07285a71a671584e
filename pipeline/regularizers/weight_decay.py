"""Weight decay, also L2 regularization or ridge: the squared norm of the weights joins the loss.

Krogh and Hertz, A Simple Weight Decay, NIPS 1991.

Adds strength / 2 times the squared norm, without biases and normalization; for plain SGD the
optimizer's decay is exactly the gradient of that.
Test rule: deterministic.
"""

from collections.abc import Sequence
from typing import ClassVar, final

from pydantic import Field
from torch import Tensor, nn

from pipeline.models._sites import require_plain_weights, weights
from pipeline.regularizers._audit import AuditInputs, Groups, Measures, require_effect
from pipeline.regularizers._regularizer import Regularizer


def half_squared_norm(parameters: Sequence[Tensor]) -> Tensor:
    """Return half the sum of squares of all parameters, a scalar."""
    zero = parameters[0].new_zeros(())
    return sum((parameter.square().sum() for parameter in parameters), start=zero) / 2


@final
class WeightDecay(Regularizer):
    """Settings of weight decay.

    Attributes:
        strength: The factor of half the squared norm.
    """

    name: ClassVar = "weight_decay"
    needs: ClassVar = "weight other than biases and those of normalization"
    off: ClassVar = {"strength": 0}

    strength: float = Field(0.001, ge=0)

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
        """Set the decay of the first group, the weights."""
        return [{**groups[0], "weight_decay": self.strength}, *groups[1:]]

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return the tensors decayed, and the penalty's share of penalty + training loss."""
        decayed = [group for group in inputs.groups if group["weight_decay"] == self.strength]
        tensors = sum(len(group["params"]) for group in decayed)
        require_effect(
            tensors > 0, 0, f"{self.name}: no weight is decayed at strength {self.strength}"
        )
        penalty = self.strength * float(half_squared_norm(weights(inputs.network)).detach())
        return {"tensors": tensors, "share_of_loss": penalty / (penalty + inputs.training_loss)}
