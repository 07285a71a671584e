"""Dropout: units are zeroed at random while training.

Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout: A Simple Way to Prevent Neural
Networks from Overfitting, JMLR 15, 2014.

Acts on the hidden inputs of linear layers, or on the network's standardized input (a zero there is
the mean pixel), with a mask per example; inverted scaling, so nothing changes at test.
Test rule: deterministic (the paper's weight scaling).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self, final

import torch
from pydantic import field_validator, model_validator
from torch import Tensor, nn

from pipeline.models._sites import Site, hidden_layers
from pipeline.regularizers._audit import AuditInputs, Measures
from pipeline.regularizers._masks import MaskLayer, mean_rate
from pipeline.regularizers._noise import layers_of, place_at_input, place_before
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.errors import Refusal

RATES = "a number >= 0 and < 1, or one for each hidden layer, as in [[0.1, 0.5]]"


def dropout(inputs: Tensor, kept: Tensor, rate: float) -> Tensor:
    """Return inputs / (1 - rate) where kept, and zero elsewhere (Srivastava et al., section 10).

    Args:
        inputs: Any shape.
        kept: The mask, bool, of the same shape.
        rate: The chance of being dropped, in [0, 1).
    """
    return inputs * kept * (1 / (1 - rate))


@final
class Dropout(Regularizer):
    """Settings of dropout.

    Attributes:
        rate: The chance that a unit is DROPPED (the paper's p is the chance that it is kept), one
            for all hidden layers or one for each.
        where: hidden (the inputs of linear layers but the network's own) or input (its pixels).
    """

    name: ClassVar = "dropout"
    family: ClassVar = "noise"
    needs: ClassVar = "linear layer with hidden inputs; where: input drops what it reads"
    off: ClassVar = {"rate": 0}
    activity: ClassVar = "realised_rate"

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

    def is_neutral(self) -> bool:
        """Return whether every rate is 0, wherever it applies."""
        return not any(self.rate if isinstance(self.rate, tuple) else [self.rate])

    def sites(self, network: nn.Module) -> list[Site]:
        """Return the linear layers with hidden inputs, or the network, as `where` has it."""
        return hidden_layers(network) if self.where == "hidden" else [("input", network)]

    def effect(self, network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the rate of every site: one for all equals as many equal ones.

        Raises:
            Refusal: There is no site, or the number of rates is not that of the sites.
        """
        return {"where": self.where, "rates": self._rate_of_each(self.require_sites(network))}

    def modify_model(self, network: nn.Module) -> None:
        """Place a noise layer before every site.

        Raises:
            Refusal: There is no site, or the number of rates is not that of the sites.
        """
        sites = self.require_sites(network)
        place = place_before if self.where == "hidden" else place_at_input
        for number, rate in enumerate(self._rate_of_each(sites)):
            site, module = sites[number]
            place(module, DropoutLayer(site, rate, number))

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return sites and the share of units dropped: overall, and by site if rates differ.

        Raises:
            NoEffect: No mask was drawn, a layer dropped another share than its rate, or its output
                never changed.
        """
        layers = sorted(layers_of(inputs.network, DropoutLayer), key=lambda layer: layer.number)
        rates = self._rate_of_each(layers)
        realised = [layer.realised_rate(rate) for layer, rate in zip(layers, rates, strict=True)]
        each = {f"realised_rate_{number}": rate for number, rate in enumerate(realised, start=1)}
        return {
            "sites": len(layers),
            "realised_rate": mean_rate(self.name, layers),
            **(each if isinstance(self.rate, tuple) else {}),
        }

    def _rate_of_each(self, sites: Sequence[Any]) -> list[float]:
        """Return the rate of each site.

        Raises:
            Refusal: The numbers of rates and sites differ.
        """
        if isinstance(self.rate, float):
            return [self.rate] * len(sites)
        if len(self.rate) != len(sites):
            raise Refusal(
                f"{self.name}: rate: {len(self.rate)} rates; "
                f"expected {len(sites)}, one for each hidden layer, or one for all"
            )
        return list(self.rate)


@final
class DropoutLayer(MaskLayer):
    """A layer that drops single units.

    `number` is the place of its site, whatever the order of registration.
    """

    def __init__(self, site: str, rate: float, number: int = 0):
        super().__init__("dropout", site, rate)
        self.number = number

    def mask_shape(self, inputs: Tensor) -> torch.Size:
        """Return the shape of the inputs: a draw for every unit."""
        return inputs.shape

    def masked(self, inputs: Tensor, kept: Tensor) -> Tensor:
        """Return the inputs with the units dropped where `kept` is false."""
        return dropout(inputs, kept, self.rate)
