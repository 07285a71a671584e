"""L1 penalty, also the lasso: strength times the sum of absolute weights joins the objective.

Tibshirani, Regression Shrinkage and Selection via the Lasso, JRSS B 58, 1996.

Takes a proximal step after every update (Daubechies et al., Comm. Pure Appl. Math. 57, 2004), which
gives exact zeros; a subgradient never does. The threshold is strength times the distance that the
optimizer follows a constant gradient in one step, learning rate / (1 - momentum) for sgd. So the
gradients of loss and penalty are equal at a minimum. Acts on weights, not on biases or
normalization.
Test rule: deterministic.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models._sites import require_plain_weights, weights
from pipeline.regularizers._audit import AuditInputs, Measures, require_effect
from pipeline.regularizers._callback import TrainingCallback
from pipeline.regularizers._rates import groups_of
from pipeline.regularizers._regularizer import Regularizer


def soft_threshold(values: Tensor, threshold: float) -> Tensor:
    """Return sign(values) * max(|values| - threshold, 0), the proximal step of an L1 norm.

    Daubechies et al., Comm. Pure Appl. Math. 57, 2004.

    Args:
        values: Any shape.
        threshold: A number >= 0.
    """
    return functional.softshrink(values, threshold)


@final
class L1Penalty(Regularizer):
    """Settings of the L1 penalty.

    Attributes:
        strength: The factor of the sum of absolute weights.
    """

    name: ClassVar = "l1_penalty"
    family: ClassVar = "penalty"
    needs: ClassVar = "weight other than biases and those of normalization"
    needs_step_length: ClassVar = True
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

    def callbacks(self) -> list[TrainingCallback]:
        """Return a new proximal step."""
        return [ProximalStep(self.strength)]

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return the share of weights that are 0, and the share of the penalty in the loss.

        Raises:
            NoEffect: The proximal steps shrank no weight.
        """
        (step,) = inputs.callbacks
        require_effect(
            step.shrunk > 0,
            0,
            f"{self.name}: {step.updates} updates shrank no weight at strength {self.strength}",
        )
        matrices = [parameter.detach() for parameter in weights(inputs.network)]
        zeros = sum(int((values == 0).sum()) for values in matrices)
        penalty = self.strength * sum(float(values.abs().sum()) for values in matrices)
        return {
            "zeros": zeros / sum(values.numel() for values in matrices),
            "share_of_loss": penalty / (penalty + inputs.training_loss),
        }


@final
class ProximalStep(TrainingCallback):
    """A callback that shrinks the weights right after the optimizer's step.

    The step is taken before the learning rate changes.
    """

    state: ClassVar = ("updates", "shrunk")

    def __init__(self, strength: float):
        self.strength = strength
        self.updates = 0
        self.shrunk = 0  # tensors, over all updates

    def on_train_start(self, trainer: Any, task: Any) -> None:
        """Register the proximal step with the optimizer."""
        (optimizer,) = trainer.optimizers
        chosen, groups = weights(task.network), groups_of(optimizer)
        length = task.optimizer_settings.step_length
        optimizer.register_step_post_hook(
            lambda *_: self._shrink(
                {weight: length(groups[weight]["lr"]) * self.strength for weight in chosen}
            )
        )

    @torch.no_grad()
    def _shrink(self, thresholds: Mapping[nn.Parameter, float]) -> None:
        """Take one proximal step, in place."""
        for parameter, threshold in thresholds.items():
            shrunk = soft_threshold(parameter, threshold)
            self.shrunk += not torch.equal(shrunk, parameter)
            parameter.copy_(shrunk)
        self.updates += 1
