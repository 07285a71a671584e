"""Input noise: Gaussian noise is added to the inputs while training.

Bishop, Training with Noise is Equivalent to Tikhonov Regularization, Neural Computation 7, 1995.

Acts on the network's standardized input, with a draw for every value of every example; for small
noise it is a penalty of sigma^2 / 2 times the squared gradient of the output with respect to the
input.
Test rule: deterministic (clean inputs).
"""

import math
from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.regularizers._audit import NEGLIGIBLE, AuditInputs, Measures, require_effect
from pipeline.regularizers._noise import NoiseLayer, layers_of, place_at_input
from pipeline.regularizers._regularizer import Regularizer

FINE = 10**12  # parts of a squared unit: counts are integers
ROUNDING = 0.01  # of the variance, by single precision


def input_noise(inputs: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Return inputs with Gaussian noise added.

    Bishop, Neural Computation 7, 1995.

    Args:
        inputs: Any shape.
        noise: Standard normal draws of the same shape.
        sigma: The standard deviation of what is added.
    """
    return inputs + sigma * noise


@final
class InputNoise(Regularizer):
    """Settings of input noise.

    Attributes:
        sigma: The noise's standard deviation, in standard deviations of the channel's training
            pixels.
    """

    name: ClassVar = "input_noise"
    family: ClassVar = "noise"
    off: ClassVar = {"sigma": 0}

    sigma: float = Field(0.2, ge=0)

    def modify_model(self, network: nn.Module) -> None:
        """Place a noise layer at the network's input."""
        place_at_input(network, InputNoiseLayer("input", self.sigma))

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return the standard deviation of what was added, measured at the layer's output.

        Raises:
            NoEffect: No value was changed, or the noise has another standard deviation than
                `sigma`.
        """
        (layer,) = layers_of(inputs.network, InputNoiseLayer)
        drawn, squares = int(layer.counts["drawn"]), int(layer.counts["squares"]) / FINE
        realised = math.sqrt(squares / max(drawn, 1))
        require_effect(
            realised > 0,
            float(self.sigma == 0),
            f"{self.name}: none of {drawn} values was changed at sigma {self.sigma}",
        )
        require_effect(
            realised == self.sigma or _is_likely((realised / self.sigma) ** 2, drawn),
            0,
            f"{self.name}: the deviation of {drawn} values is {realised:.4g}; "
            f"expected {self.sigma:.4g}",
        )
        return {"values": drawn, "realised_sigma": realised}


def _is_likely(ratio: float, number: int) -> bool:
    """Return whether a mean square of `ratio` times the expected one is not negligibly rare.

    Chernoff's bound for chi squared with `number` degrees of freedom: at most
    exp(-number / 2 * (ratio - 1 - log ratio)) on either side.
    """
    exponent = number / 2 * (ratio - 1 - math.log(ratio))
    return abs(ratio - 1) <= ROUNDING or exponent <= math.log(2 / NEGLIGIBLE)


@final
class InputNoiseLayer(NoiseLayer):
    """A layer that adds noise and counts the values and the squares of their changes."""

    def __init__(self, site: str, sigma: float):
        super().__init__("input_noise", site)
        self.sigma = sigma
        self.counts = {"drawn": 0, "squares": 0}

    def sample(self, inputs: Tensor) -> Tensor:
        """Return inputs (N, ...) with a draw for every value."""
        noise = torch.randn(inputs.shape, generator=self.generator, dtype=inputs.dtype)
        outputs = input_noise(inputs, noise.to(inputs.device), self.sigma)
        squares = (outputs - inputs).detach().double().square().sum()
        self.count(drawn=inputs.numel(), squares=round(float(squares) * FINE))
        return outputs
