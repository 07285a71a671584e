"""Measure the weights, the gradients and the last update of an epoch, layer by layer.

The ratio of the update's norm to the weight's is about 1e-3 where the learning rate fits (CS231n).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.models._routing import DECAYED, routes

DIGITS = 4  # significant


class Norms:
    """Norms of the weights of a network that norm penalties act on.

    Args:
        network: The network that is trained.
    """

    def __init__(self, network: nn.Module):
        chosen = [route for route in routes(network) if route.group == DECAYED]
        named = {route.parameter: route.name for route in reversed(chosen)}  # tied: its first name
        self.weights = {name: weight for weight, name in reversed(named.items())}
        self.before: dict[str, Tensor] = {}

    @torch.no_grad()
    def begin(self) -> None:
        """Keep the weights before an update."""
        self.before = {name: weight.clone() for name, weight in self.weights.items()}

    @torch.no_grad()
    def measured(self) -> dict[str, Any]:
        """Return the norms after the update, and those of its gradient and itself.

        Returns:
            `squared_weight_norm` and `gradient_norm` over all weights, `update_ratio` (the norm
            of the update over that of the weights before it), and under `layers` the same three of
            each weight by name; four significant digits. Empty for a network without weights.
        """
        squares = {
            name: _squares(weight, self.before.get(name)) for name, weight in self.weights.items()
        }
        self.before = {}
        if not squares:
            return {}
        total = [sum(column) for column in zip(*squares.values(), strict=True)]
        return {**_row(total), "layers": {name: _row(values) for name, values in squares.items()}}


def _squares(weight: Tensor, before: Tensor | None) -> list[float]:
    """Return squared norms of a weight, its gradient, its update and the weight before that."""
    gradient = weight.new_zeros(()) if weight.grad is None else weight.grad
    start = weight if before is None else before
    values = (weight, gradient, weight - start, start)
    return [float(value.double().square().sum()) for value in values]


def _row(squares: Sequence[float]) -> Mapping[str, float]:
    weight, gradient, update, before = squares
    ratio = (update / before) ** 0.5 if before else 0.0
    values = {"squared_weight_norm": weight, "gradient_norm": gradient**0.5, "update_ratio": ratio}
    return {name: float(f"{value:.{DIGITS}g}") for name, value in values.items()}
