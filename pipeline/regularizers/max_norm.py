"""Max-norm (Srebro and Shraibman, Rank, Trace-Norm and Max-Norm, COLT 2005; with dropout: Srivastava et al., JMLR 15, 2014).

After every update each unit's incoming weight vector is projected onto the ball of a given radius. Acts on the rows of
linear layers and on the filters of convolutions, not on biases. Test rule: deterministic.
"""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.models._sites import LAYERS
from pipeline.regularizers.base import Evidence, Measures, NoEffect, Regularizer, require_effect
from pipeline.runtime.errors import Refusal

ROUNDING = 1e-4  # relative


def max_norm(weight: Tensor, strength: float) -> Tensor:
    """`weight` (units, ...) with every unit's vector scaled down to the Euclidean norm `strength` where it is longer."""
    return weight * _factors(weight, strength)


def _factors(weight: Tensor, strength: float) -> Tensor:
    """What each unit's vector is multiplied by, (units, 1, ...) in (0, 1]."""
    norms = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.dim())), keepdim=True)
    factors: Tensor = strength / norms.clamp_min(strength)
    return factors


class MaxNorm(Regularizer):
    """`strength` is the largest norm allowed to a unit's incoming weights, so the smaller the stronger; the paper's is 3 to 4.

    No finite one is without effect.
    """

    name: ClassVar[str] = "max_norm"

    strength: float = Field(3.0, gt=0)

    def modify_model(self, network: nn.Module) -> None:
        """Changes nothing. Raises Refusal where there is nothing to project."""
        if not units(network):
            raise Refusal("max_norm: no units found; looked for linear layers and convolutions")

    def callbacks(self) -> list[Any]:
        """The projection."""
        return [Projection(self.strength)]

    def audit(self, evidence: Evidence) -> Measures:
        """Units; `armed`, the projections made (one per unit and update); `fired`, the share of them that shortened a vector.

        It may rightly never fire, but it has to be armed, and no norm may end above the strength.
        """
        (projection,) = evidence.callbacks
        found = units(evidence.network)
        require_effect(
            projection.armed > 0, 0, f"max_norm: no projection was made at strength {self.strength}"
        )
        least = min(float(_factors(weight.detach(), self.strength).min()) for weight in found)
        if least < 1 - ROUNDING:
            raise NoEffect(
                f"max_norm: a unit's weights have norm {self.strength / least:.4g}, above the allowed {self.strength}"
            )
        fired = int(projection.fired) / projection.armed
        return {
            "units": sum(len(weight) for weight in found),
            "armed": projection.armed,
            "fired": fired,
        }


class Projection:
    """Projects right after the optimizer's step, and counts."""

    def __init__(self, strength: float):
        self.strength = strength
        self.armed = 0
        self.fired: Tensor | int = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Hooks the projection into the optimizer."""
        (optimizer,) = trainer.optimizers
        chosen = units(pl_module.network)
        optimizer.register_step_post_hook(lambda *_: self.project(chosen))

    @torch.no_grad()
    def project(self, found: list[Tensor]) -> None:
        """Projects every weight, in place."""
        for weight in found:
            factors = _factors(weight, self.strength)
            self.armed += len(weight)
            self.fired += (factors < 1).sum()
            weight.mul_(factors)

    def state_dict(self) -> dict[str, Any]:
        """What the audit counts, for a checkpoint."""
        return {"armed": self.armed, "fired": int(self.fired)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the counts up again."""
        self.armed, self.fired = state_dict["armed"], state_dict["fired"]


def units(network: nn.Module) -> list[Tensor]:
    """The weights of linear layers and convolutions, their units first."""
    return [module.weight for module in network.modules() if isinstance(module, LAYERS)]
