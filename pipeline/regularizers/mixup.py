"""Mixup: pairs of examples are blended.

Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.

Acts on training batches: every image and its target are replaced by a weighted mean with those of
another example of the batch. One weight per batch; pairs are drawn by a permutation.
Test rule: deterministic.
"""

from typing import ClassVar, final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from pipeline.regularizers._audit import AuditInputs, Measures, require_effect
from pipeline.regularizers._regularizer import Regularizer

ROUNDING = 2.0**-24  # a weight this close to 1 is 1 in single precision
SEEDS = 2**63 - 1


def mixed(values: Tensor, partners: Tensor, share: float) -> Tensor:
    """Return share * own + (1 - share) * partner's value.

    Zhang et al., ICLR 2018.

    Args:
        values: (N, ...).
        partners: The number of each example's partner (N,).
        share: The weight of an example's own value, in [0, 1].
    """
    return values * share + values[partners] * (1 - share)


def draw_share(alpha: float, generator: torch.Generator) -> float:
    """Return a weight in [0, 1] from Beta(alpha, alpha), or its limit 1 at alpha = 0.

    Mean 1/2, variance 1 / (4 (2 alpha + 1)). By numpy, seeded from `generator`: torch's Beta takes
    no generator, and gives 1/2 for small alpha, where the limit is one example alone.

    Args:
        alpha: Both parameters of the distribution, at least 0.
        generator: The source of the draw, on the CPU.
    """
    if alpha == 0:
        return 1.0
    seed = int(torch.randint(SEEDS, (), generator=generator))
    return float(np.random.default_rng(seed).beta(alpha, alpha))


@final
class Mixup(Regularizer):
    """Settings of mixup.

    Attributes:
        alpha: Both parameters of the Beta distribution of the weight; the paper uses 0.1 to 0.4
            on ImageNet and 1 on CIFAR-10.
    """

    name: ClassVar = "mixup"
    family: ClassVar = "examples"
    off: ClassVar = {"alpha": 0}
    activity: ClassVar = "changed"

    alpha: float = Field(0.2, ge=0)

    def modify_batch(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mix inputs and targets with the same weight and partners.

        The larger weight goes to the example itself. Exchanging the weights gives the batch of the
        inverse permutation, so this does not change the distribution of batches. The label of an
        example is then the label with the larger weight, by which training conditions are scored.
        """
        share = draw_share(self.alpha, generator)
        share = max(share, 1 - share)
        partners = torch.randperm(len(inputs), generator=generator).to(inputs.device)
        return mixed(inputs, partners, share), mixed(targets, partners, share)

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return the share of examples changed and the mean change of a pixel in [0, 1].

        Raises:
            NoEffect: No example was changed, although some should have been.
        """
        changes = inputs.changes
        # a bound on the chance that the weights of all batches round to 1
        chance = (2 * ROUNDING) ** (self.alpha * changes.batches)
        require_effect(
            changes.changed > 0,
            chance,
            f"{self.name}: none of {changes.examples} examples was changed at alpha {self.alpha}",
        )
        return changes.measures()
