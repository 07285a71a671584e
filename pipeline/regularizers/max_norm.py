"""Max-norm: each unit's incoming weight vector is kept within the ball of a given radius.

Srebro and Shraibman, Rank, Trace-Norm and Max-Norm, COLT 2005; with dropout: Srivastava et al.,
JMLR 15, 2014.

Projects after every update of any optimizer without a line search. Acts on the rows of linear
layers and on the filters of convolutions, not on biases.
Test rule: deterministic.
"""

from typing import Any, ClassVar, final

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.models._sites import require_plain_weights, units
from pipeline.regularizers._audit import AuditInputs, Measures, NoEffect, require_effect
from pipeline.regularizers._callback import TrainingCallback
from pipeline.regularizers._regularizer import Regularizer

ROUNDING = 1e-4  # relative


def max_norm(weight: Tensor, strength: float) -> Tensor:
    """Return weights with the norm of each unit's vector at most `strength`.

    Srebro and Shraibman, COLT 2005.

    Args:
        weight: (units, ...).
        strength: The largest norm, above 0.
    """
    return weight * _factors(weight, strength)


def _factors(weight: Tensor, strength: float) -> Tensor:
    """Return what each unit's vector is multiplied by, (units, 1, ...) in (0, 1]."""
    norms = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.dim())), keepdim=True)
    factors: Tensor = strength / norms.clamp_min(strength)
    return factors


@final
class MaxNorm(Regularizer):
    """Settings of max-norm; no finite strength is without effect.

    Attributes:
        strength: The largest norm of the incoming weights of a unit: a smaller value is a stronger
            limit; the paper uses 3 to 4.
    """

    name: ClassVar = "max_norm"
    family: ClassVar = "penalty"
    needs: ClassVar = "linear layer or convolution"
    activity: ClassVar = "fired"

    strength: float = Field(3.0, gt=0)

    def sites(self, network: nn.Module) -> list[nn.Parameter]:
        """Return the weights of linear layers and convolutions."""
        return units(network)

    def modify_model(self, network: nn.Module) -> None:
        """Check that the weights of layers are theirs.

        Raises:
            Refusal: There is no such weight, or one is computed from others.
        """
        self.require_sites(network)
        require_plain_weights(network, self.name)

    def callbacks(self) -> list[TrainingCallback]:
        """Return a new projection."""
        return [Projection(self.strength)]

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return units; `armed`, the projections made; `fired`, the share that shortened a vector.

        A projection is made per unit and update. It may validly never fire, but it has to be armed,
        and no norm may end above the strength.

        Raises:
            NoEffect: No projection was made, or a norm is above the strength.
        """
        (projection,) = inputs.callbacks
        vectors = units(inputs.network)
        require_effect(
            projection.armed > 0,
            0,
            f"{self.name}: no projection was made at strength {self.strength}",
        )
        least = min(float(_factors(weight.detach(), self.strength).min()) for weight in vectors)
        if least < 1 - ROUNDING:
            raise NoEffect(
                f"{self.name}: the weights of a unit have norm {self.strength / least:.4g}; "
                f"expected <= {self.strength}"
            )
        return {
            "units": sum(len(weight) for weight in vectors),
            "armed": projection.armed,
            "fired": int(projection.fired) / projection.armed,
        }


@final
class Projection(TrainingCallback):
    """A callback that projects right after the optimizer's step, and counts."""

    state: ClassVar = ("armed", "fired")

    def __init__(self, strength: float):
        self.strength = strength
        self.armed = 0
        self.fired: Tensor | int = 0

    def on_train_start(self, trainer: Any, task: Any) -> None:
        """Register the projection with the optimizer."""
        (optimizer,) = trainer.optimizers
        chosen = units(task.network)
        optimizer.register_step_post_hook(lambda *_: self._project(chosen))

    @torch.no_grad()
    def _project(self, weights: list[nn.Parameter]) -> None:
        """Project every weight, in place."""
        for weight in weights:
            factors = _factors(weight, self.strength)
            self.armed += len(weight)
            self.fired = self.fired + (factors < 1).sum()
            weight.mul_(factors)
