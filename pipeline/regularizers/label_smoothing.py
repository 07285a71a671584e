"""Label smoothing: a share of every target is spread evenly over all classes.

Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016.

It keeps every logit from growing without bound. Acts on the targets of training batches, draws
nothing, and is linear, so that it commutes with mixup.
Test rule: deterministic.
"""

from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor

from pipeline.regularizers._audit import AuditInputs, Measures, require_effect
from pipeline.regularizers._regularizer import Regularizer


def smoothed(targets: Tensor, amount: float) -> Tensor:
    """Return (1 - amount) * targets + amount / classes.

    Szegedy et al., CVPR 2016, section 7.

    Args:
        targets: Distributions over classes (N, classes).
        amount: The share of the uniform distribution, in [0, 1).
    """
    return targets * (1 - amount) + amount / targets.shape[1]


@final
class LabelSmoothing(Regularizer):
    """Settings of label smoothing.

    Attributes:
        amount: The uniform distribution's share of a target.
    """

    name: ClassVar = "label_smoothing"
    family: ClassVar = "examples"
    off: ClassVar = {"amount": 0}
    activity: ClassVar = "changed"

    amount: float = Field(0.1, ge=0, lt=1)

    def modify_batch(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the same inputs and smoothed targets."""
        return inputs, smoothed(targets, self.amount)

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return the share of targets changed.

        Raises:
            NoEffect: No target was changed.
        """
        changes = inputs.changes
        require_effect(
            changes.changed > 0,
            0,
            f"{self.name}: none of {changes.examples} targets was changed by amount {self.amount}",
        )
        return {"changed": changes.changed / changes.examples}
