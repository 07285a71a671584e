"""Dropout (Srivastava et al., JMLR 15, 2014): hidden units are zeroed at random while training.

Acts on the inputs of linear layers, a mask per example; inverted scaling, so nothing changes at test.
Test rule: deterministic (the paper's weight scaling).
"""

from typing import Self

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.models.sites import linear_layers
from pipeline.regularizers.base import Evidence, Measures, NoiseLayer, Regularizer, noise_layers, place_before, require_effect


def dropout(inputs: Tensor, kept: Tensor, rate: float) -> Tensor:
    """Inputs where `kept` (bool, same shape) is true, divided by the chance 1 - rate of being kept; zero elsewhere."""
    return inputs * kept * (1 / (1 - rate))


class Dropout(Regularizer):
    """`rate` is the chance that a unit is DROPPED (the paper's p is the chance that it is kept)."""

    rate: float = Field(0.5, ge=0, lt=1)

    @classmethod
    def neutral(cls) -> Self:
        """Nothing is ever dropped."""
        return cls(rate=0)

    def modify_model(self, network: nn.Module) -> None:
        """Places a layer before every linear layer."""
        for site, module in linear_layers(network):
            place_before(module, DropoutLayer(site, self.rate))

    def audit(self, evidence: Evidence) -> Measures:
        """Sites, and the share of units that was dropped."""
        layers = [layer for layer in noise_layers(evidence.network) if isinstance(layer, DropoutLayer)]
        drawn = sum(int(layer.counts.get("drawn", 0)) for layer in layers)
        dropped = drawn - sum(int(layer.counts.get("kept", 0)) for layer in layers)
        chance = (1 - self.rate) ** drawn
        require_effect(
            dropped > 0, chance, f"dropout: none of {drawn} units at {len(layers)} sites was dropped at rate {self.rate}"
        )
        return {"sites": len(layers), "realised_rate": dropped / max(drawn, 1)}


class DropoutLayer(NoiseLayer):
    """Draws a mask of the inputs' shape, and counts what it dropped."""

    def __init__(self, site: str, rate: float):
        super().__init__("dropout", site)
        self.rate = rate

    def sample(self, inputs: Tensor) -> Tensor:
        """Inputs (N, ...) with a mask of their own for every example."""
        kept = torch.rand(inputs.shape, generator=self.generator) >= self.rate
        self.count(drawn=kept.numel(), kept=kept.sum())
        return dropout(inputs, kept, self.rate)
