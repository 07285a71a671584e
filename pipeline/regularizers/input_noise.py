"""Input noise (Bishop, Training with Noise is Equivalent to Tikhonov Regularization, Neural Computation 7, 1995): Gaussian
noise is added to the inputs while training.

Acts on the network's standardized input, anew for every value of every example; for small noise it is a penalty of sigma^2 / 2
times the squared gradient of the output with respect to the input. Test rule: deterministic (clean inputs).
"""

import math
from typing import ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.regularizers.base import (
    NEGLIGIBLE,
    Evidence,
    Measures,
    NoiseLayer,
    Regularizer,
    noise_layers,
    place_at_input,
    require_effect,
)

FINE = 10**12  # parts of a squared unit: counts are whole numbers
ROUNDING = 0.01  # of the variance, by single precision


def input_noise(inputs: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Inputs plus `sigma` times standard normal `noise` (same shape)."""
    return inputs + sigma * noise


class InputNoise(Regularizer):
    """`sigma` is the noise's standard deviation, in standard deviations of the channel's training pixels."""

    name: ClassVar[str] = "input_noise"

    sigma: float = Field(0.2, ge=0)

    @classmethod
    def neutral(cls) -> Self:
        """No noise."""
        return cls(sigma=0)

    def modify_model(self, network: nn.Module) -> None:
        """Places a layer at the network's input."""
        place_at_input(network, InputNoiseLayer("input", self.sigma))

    def audit(self, evidence: Evidence) -> Measures:
        """The standard deviation of what was added, measured at the layer's output. It has to be there."""
        (layer,) = [
            layer for layer in noise_layers(evidence.network) if isinstance(layer, InputNoiseLayer)
        ]
        drawn, squares = int(layer.counts["drawn"]), int(layer.counts["squares"]) / FINE
        realised = math.sqrt(squares / max(drawn, 1))
        moved = f"input_noise: none of {drawn} values was moved at sigma {self.sigma}"
        require_effect(realised > 0, float(self.sigma == 0), moved)
        due = realised == self.sigma or _as_due((realised / self.sigma) ** 2, drawn)
        require_effect(
            due,
            0,
            f"input_noise: the deviation of {drawn} values is {realised:.4g}; due is {self.sigma:.4g}",
        )
        return {"values": drawn, "realised_sigma": realised}


def _as_due(ratio: float, number: int) -> bool:
    """Whether the mean of so many squared normal numbers is `ratio` of the one due with more than negligible chance.

    Chernoff's bound for chi squared: at most exp(-number / 2 * (ratio - 1 - log ratio)) on either side.
    """
    return abs(ratio - 1) <= ROUNDING or number / 2 * (ratio - 1 - math.log(ratio)) <= math.log(
        2 / NEGLIGIBLE
    )


class InputNoiseLayer(NoiseLayer):
    """Adds its noise, and counts the values and the squares of their changes."""

    def __init__(self, site: str, sigma: float):
        super().__init__("input_noise", site)
        self.sigma = sigma
        self.counts = {"drawn": 0, "squares": 0}

    def sample(self, inputs: Tensor) -> Tensor:
        """Inputs (N, ...) with noise of its own for every value."""
        noise = torch.randn(inputs.shape, generator=self.generator, dtype=inputs.dtype).to(
            inputs.device
        )
        outputs = input_noise(inputs, noise, self.sigma)
        squares = (outputs - inputs).detach().double().square().sum()
        self.count(drawn=inputs.numel(), squares=round(float(squares) * FINE))
        return outputs
