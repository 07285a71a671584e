"""Dropout (Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout: A Simple Way to Prevent Neural Networks
from Overfitting, JMLR 15, 2014): units are zeroed at random while training.

Acts on the hidden inputs of linear layers, or on the network's standardized input (a zero there is the mean pixel), with
a mask per example; inverted scaling, so nothing changes at test. Test rule: deterministic (the paper's weight scaling).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import field_validator, model_validator
from torch import Tensor, nn

from pipeline.models._sites import Site, hidden_layers
from pipeline.regularizers.base import (
    Evidence,
    Measures,
    NoiseLayer,
    Regularizer,
    noise_layers,
    place_at_input,
    place_before,
    require_effect,
    require_rate,
)
from pipeline.runtime.errors import Refusal

RATES = "a number, at least 0 and less than 1, or one for each hidden layer, as in [[0.1, 0.5]]"


def dropout(inputs: Tensor, kept: Tensor, rate: float) -> Tensor:
    """Inputs where `kept` (bool, same shape) is true, divided by the chance 1 - rate of being kept; zero elsewhere."""
    return inputs * kept * (1 / (1 - rate))


class Dropout(Regularizer):
    """`rate` is the chance that a unit is DROPPED (the paper's p is the chance that it is kept), one for all hidden
    layers or one for each; `where`: hidden (the inputs of linear layers but the network's own) or input (its pixels)."""

    name: ClassVar[str] = "dropout"

    rate: float | tuple[float, ...] = 0.5
    where: Literal["hidden", "input"] = "hidden"

    @field_validator("rate", mode="before")
    @classmethod
    def _rates(cls, given: Any) -> float | tuple[float, ...]:
        several = isinstance(given, list | tuple)
        rates = given if several else [given]
        if not rates or not all(type(rate) in (int, float) and 0 <= rate < 1 for rate in rates):
            raise ValueError(RATES)
        return tuple(map(float, given)) if several else float(given)

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if self.where == "input" and isinstance(self.rate, tuple):
            raise ValueError("one rate where the input is dropped; several are for where: hidden")
        return self

    @classmethod
    def neutral(cls) -> Self:
        """Nothing is ever dropped."""
        return cls(rate=0)

    def is_neutral(self) -> bool:
        """Whatever is dropped at rate 0."""
        return self.rate == 0 or (isinstance(self.rate, tuple) and not any(self.rate))

    def effect(self, network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
        """The rate of every site: one for all is the same as so many equal ones."""
        rates = [self.rate] if self.where == "input" else [*self._each(hidden_layers(network))]
        return {"where": self.where, "rates": rates}

    def modify_model(self, network: nn.Module) -> None:
        """Places a layer before every linear layer with hidden inputs, or one at the network's input. Raises Refusal."""
        if isinstance(self.rate, float) and self.where == "input":
            place_at_input(network, DropoutLayer("input", self.rate))
            return
        found = hidden_layers(network)
        for number, ((site, module), rate) in enumerate(zip(found, self._each(found), strict=True)):
            place_before(module, DropoutLayer(site, rate, number))

    def audit(self, evidence: Evidence) -> Measures:
        """Sites, and the share of units that was dropped: of all, and at each site where rates differ."""
        placed = [
            layer for layer in noise_layers(evidence.network) if isinstance(layer, DropoutLayer)
        ]
        layers = sorted(placed, key=lambda layer: layer.number)
        shares = [
            _share(layer, rate) for layer, rate in zip(layers, self._each(layers), strict=True)
        ]
        drawn = [int(layer.counts["drawn"]) for layer in layers]
        require_effect(sum(drawn) > 0, 0, "dropout: no mask was drawn")
        realised = sum(share * number for share, number in zip(shares, drawn, strict=True)) / sum(
            drawn
        )
        each = {f"realised_rate_{index}": share for index, share in enumerate(shares, start=1)}
        return {
            "sites": len(layers),
            "realised_rate": realised,
            **(each if isinstance(self.rate, tuple) else {}),
        }

    def _each(self, found: Sequence[Site] | Sequence[NoiseLayer]) -> tuple[float, ...]:
        """The rate of each site. Raises Refusal where there is none, or not one for each."""
        if not found:
            raise Refusal(
                "dropout: the network has no linear layer with hidden inputs; where: input drops what it reads"
            )
        if isinstance(self.rate, float):
            return (self.rate,) * len(found)
        if len(self.rate) != len(found):
            raise Refusal(
                f"dropout: rate: {len(self.rate)} rates for {len(found)} hidden sites; allowed are {len(found)}, or one"
            )
        return self.rate


class DropoutLayer(NoiseLayer):
    """Draws a mask of the inputs' shape, and counts what it dropped and how often its output differed.

    `number`: which of the sites it is, which need not be the order of registration.
    """

    def __init__(self, site: str, rate: float, number: int = 0):
        super().__init__("dropout", site)
        self.rate = rate
        self.number = number
        self.counts = {"drawn": 0, "kept": 0, "passes": 0, "changed": 0}

    def sample(self, inputs: Tensor) -> Tensor:
        """Inputs (N, ...) with a mask of their own for every example."""
        kept = (torch.rand(inputs.shape, generator=self.generator) >= self.rate).to(inputs.device)
        outputs = dropout(inputs, kept, self.rate)
        self.count(
            drawn=kept.numel(), kept=kept.sum(), passes=1, changed=not torch.equal(outputs, inputs)
        )
        return outputs


def _share(layer: DropoutLayer, rate: float) -> float:
    """The share of units that a layer dropped. Raises NoEffect where it is not what `rate` gives."""
    drawn, passes = int(layer.counts["drawn"]), int(layer.counts["passes"])
    dropped = drawn - int(layer.counts["kept"])
    require_rate("dropout", f"units at {layer.site}", dropped, drawn, rate)
    require_effect(
        int(layer.counts["changed"]) > 0,
        (1 - rate) ** drawn,
        f"dropout: {layer.site} gave its input in all of {passes} passes at rate {rate}",
    )
    return dropped / max(drawn, 1)
