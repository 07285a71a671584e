"""Mixup (Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018): pairs of examples are blended.

Acts on training batches: every image and its target become a weighted mean of their own and of another example of the
batch; one weight per batch, pairs by a permutation. Draws from the global generator. Test rule: deterministic.
"""

from typing import Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from pipeline.regularizers.base import Evidence, Measures, Regularizer, require_effect

ROUNDING = 2.0**-24  # a weight this close to 1 is 1 in single precision


def mixed(values: Tensor, partners: Tensor, share: float) -> Tensor:
    """share * own + (1 - share) * partner's, for values (N, ...) and `partners` (N,), the number of each one's partner."""
    return values * share + values[partners] * (1 - share)


def draw_share(alpha: float) -> float:
    """A weight in [0, 1] from Beta(alpha, alpha), by the global generator: mean 1/2, variance 1 / (4 (2 alpha + 1)).

    g1 / (g1 + g2) of gamma numbers g = gamma(alpha + 1) u^(1 / alpha), as logarithms: torch's own Beta gives 1/2 where
    both underflow, which is the opposite of the limit for alpha towards 0, one example alone.
    """
    if alpha == 0:
        return 1.0
    shape, rate = (torch.full((2,), value, dtype=torch.float64) for value in (alpha + 1, 1.0))
    gamma = torch.distributions.Gamma(shape, rate, validate_args=False).sample()
    uniform = torch.rand(2, dtype=torch.float64).clamp_min(torch.finfo(torch.float64).tiny)
    logarithms = gamma.log() + uniform.log() / alpha
    return float(torch.sigmoid(logarithms[0] - logarithms[1]))


class Mixup(Regularizer):
    """`alpha` is both parameters of the Beta distribution; the paper uses 0.1 to 0.4 on ImageNet and 1 on CIFAR-10."""

    name: ClassVar[str] = "mixup"

    alpha: float = Field(0.2, ge=0)

    @classmethod
    def neutral(cls) -> Self:
        """Nothing is mixed."""
        return cls(alpha=0)

    def modify_batch(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes inputs and targets with the same weight and partners.

        The greater weight goes to an example's own image, which changes nothing: the batch with weights exchanged is
        the batch with the inverse permutation. So "its own label" keeps a meaning when training conditions are scored.
        """
        share = draw_share(self.alpha)
        share = max(share, 1 - share)
        partners = torch.randperm(len(inputs)).to(inputs.device)
        return mixed(inputs, partners, share), mixed(targets, partners, share)

    def callbacks(self) -> list[Any]:
        """Counts the batches, each with one weight."""
        return [Batches()]

    def audit(self, evidence: Evidence) -> Measures:
        """Share of examples changed, and the mean absolute change of a pixel on the scale [0, 1]."""
        changes, (counted,) = evidence.changes, evidence.callbacks
        chance = (2 * ROUNDING) ** (
            self.alpha * counted.batches
        )  # of weights that all round to 1, bounded
        require_effect(
            changes.changed > 0,
            chance,
            f"mixup: none of {changes.examples} examples was changed at alpha {self.alpha}",
        )
        return {
            "changed": changes.changed / changes.examples,
            "pixel_change": changes.distance / changes.examples,
        }


class Batches:
    """Counts the batches of a run."""

    def __init__(self) -> None:
        self.batches = 0

    def on_train_batch_end(self, *arguments: Any) -> None:
        """One more."""
        self.batches += 1

    def state_dict(self) -> dict[str, Any]:
        """The count, for a checkpoint."""
        return {"batches": self.batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the count up again."""
        self.batches = state_dict["batches"]
