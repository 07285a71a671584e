"""Label smoothing (Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016).

A share of every target is spread evenly over all classes, so that no logit is driven to infinity. Acts on the targets
of training batches, draws nothing, and is linear, so that it commutes with mixup. Test rule: deterministic.
"""

from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor

from pipeline.regularizers.base import Evidence, Measures, Regularizer, require_effect


def smoothed(targets: Tensor, amount: float) -> Tensor:
    """Targets (N, classes), distributions over classes, mixed with the uniform one, whose share is `amount`."""
    return targets * (1 - amount) + amount / targets.shape[1]


class LabelSmoothing(Regularizer):
    """`amount` is the uniform distribution's share of a target."""

    name: ClassVar[str] = "label_smoothing"

    amount: float = Field(0.1, ge=0, lt=1)

    @classmethod
    def neutral(cls) -> Self:
        """Targets stay as they are."""
        return cls(amount=0)

    def modify_batch(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Smooths the targets; inputs stay."""
        return inputs, smoothed(targets, self.amount)

    def audit(self, evidence: Evidence) -> Measures:
        """Share of targets changed."""
        changes = evidence.changes
        require_effect(
            changes.changed > 0,
            0,
            f"label_smoothing: none of {changes.examples} targets was changed by amount {self.amount}",
        )
        return {"changed": changes.changed / changes.examples}
