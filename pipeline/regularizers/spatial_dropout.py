"""Spatial dropout (Tompson, Goroshin, Jain, LeCun and Bregler, Efficient Object Localization Using Convolutional Networks,
CVPR 2015): whole feature maps are zeroed at random while training.

Neighbouring pixels of a map tell much the same, so dropping them one by one hides little. Acts on the outputs of
convolutions that see more than one pixel, a mask (example, map) per batch; inverted scaling. Where batch norm follows, the
variance it sees in training is larger than at test. Test rule: deterministic.
"""

from typing import ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.models._sites import convolutions
from pipeline.regularizers.base import (
    Evidence,
    Measures,
    NoiseLayer,
    Regularizer,
    noise_layers,
    place_after,
    require_effect,
    require_rate,
)
from pipeline.runtime.errors import Refusal


def spatial_dropout(maps: Tensor, kept: Tensor, rate: float) -> Tensor:
    """Maps (N, channels, ...) where `kept` (N, channels; bool) is true, divided by 1 - rate; zero elsewhere."""
    factors = kept.to(maps.dtype) * (1 / (1 - rate))
    return maps * factors.view(*factors.shape, *[1] * (maps.dim() - 2))


class SpatialDropout(Regularizer):
    """`rate` is the chance that a feature map is dropped."""

    name: ClassVar[str] = "spatial_dropout"

    rate: float = Field(0.1, ge=0, lt=1)

    @classmethod
    def neutral(cls) -> Self:
        """Nothing is ever dropped."""
        return cls(rate=0)

    def modify_model(self, network: nn.Module) -> None:
        """Places a layer after every convolution that sees more than one pixel. Raises Refusal where there is none."""
        found = convolutions(network)
        if not found:
            raise Refusal(
                "spatial_dropout: the network has no convolution that sees more than one pixel"
            )
        for site, module in found:
            place_after(module, SpatialDropoutLayer(site, self.rate))

    def audit(self, evidence: Evidence) -> Measures:
        """Sites, and the share of feature maps that was dropped. Every site has to have acted."""
        layers = [
            layer
            for layer in noise_layers(evidence.network)
            if isinstance(layer, SpatialDropoutLayer)
        ]
        for layer in layers:
            _require_acted(layer, self.rate)
        drawn, kept = (
            sum(int(layer.counts[name]) for layer in layers) for name in ("drawn", "kept")
        )
        require_effect(drawn > 0, 0, "spatial_dropout: no mask was drawn")
        return {"sites": len(layers), "realised_rate": 1 - kept / drawn}


class SpatialDropoutLayer(NoiseLayer):
    """Draws a mask (example, map), and counts what it dropped and how often its output differed."""

    def __init__(self, site: str, rate: float):
        super().__init__("spatial_dropout", site)
        self.rate = rate
        self.counts = {"drawn": 0, "kept": 0, "passes": 0, "changed": 0}

    def sample(self, inputs: Tensor) -> Tensor:
        """Maps (N, channels, ...) with a mask of their own for every example."""
        kept = (torch.rand(inputs.shape[:2], generator=self.generator) >= self.rate).to(
            inputs.device
        )
        outputs = spatial_dropout(inputs, kept, self.rate)
        self.count(
            drawn=kept.numel(), kept=kept.sum(), passes=1, changed=not torch.equal(outputs, inputs)
        )
        return outputs


def _require_acted(layer: SpatialDropoutLayer, rate: float) -> None:
    drawn = int(layer.counts["drawn"])
    require_rate(
        "spatial_dropout",
        f"feature maps at {layer.site}",
        drawn - int(layer.counts["kept"]),
        drawn,
        rate,
    )
    same = f"spatial_dropout: {layer.site} gave its input in all of {layer.counts['passes']} passes at rate {rate}"
    require_effect(int(layer.counts["changed"]) > 0, (1 - rate) ** drawn, same)
