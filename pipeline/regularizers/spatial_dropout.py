"""Spatial dropout: whole feature maps are zeroed at random while training.

Tompson, Goroshin, Jain, LeCun and Bregler, Efficient Object Localization Using Convolutional
Networks, CVPR 2015.

Neighboring pixels of a map are correlated, so dropping them one by one hides little. Acts on the
outputs of convolutions that see more than one pixel, a mask (example, map) per batch; inverted
scaling. Where batch norm follows, the variance it sees in training is larger than at test.
Test rule: deterministic.
"""

from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.models._sites import Site, convolutions
from pipeline.regularizers._audit import AuditInputs, Measures
from pipeline.regularizers._masks import MaskLayer, mean_rate
from pipeline.regularizers._noise import layers_of, place_after
from pipeline.regularizers._regularizer import Regularizer


def spatial_dropout(maps: Tensor, kept: Tensor, rate: float) -> Tensor:
    """Return maps / (1 - rate) where kept, and zero elsewhere.

    Tompson et al., CVPR 2015.

    Args:
        maps: (N, channels, ...).
        kept: The mask (N, channels), bool.
        rate: The chance that a map is dropped, in [0, 1).
    """
    factors = kept.to(maps.dtype) * (1 / (1 - rate))
    return maps * factors.view(*factors.shape, *[1] * (maps.dim() - 2))


@final
class SpatialDropout(Regularizer):
    """Settings of spatial dropout.

    Attributes:
        rate: The chance that a feature map is dropped.
    """

    name: ClassVar = "spatial_dropout"
    family: ClassVar = "noise"
    needs: ClassVar = "convolution that sees more than one pixel"
    off: ClassVar = {"rate": 0}
    activity: ClassVar = "realised_rate"

    rate: float = Field(0.1, ge=0, lt=1)

    def sites(self, network: nn.Module) -> list[Site]:
        """Return the convolutions that see more than one pixel."""
        return convolutions(network)

    def modify_model(self, network: nn.Module) -> None:
        """Place a noise layer after every site.

        Raises:
            Refusal: There is no such convolution.
        """
        for site, module in self.require_sites(network):
            place_after(module, SpatialDropoutLayer(site, self.rate))

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return sites and the share of feature maps dropped; every site has to have acted.

        Raises:
            NoEffect: No mask was drawn, a layer dropped another share than its rate, or its output
                never changed.
        """
        layers = layers_of(inputs.network, SpatialDropoutLayer)
        for layer in layers:
            layer.realised_rate(self.rate)
        return {"sites": len(layers), "realised_rate": mean_rate(self.name, layers)}


@final
class SpatialDropoutLayer(MaskLayer):
    """A layer that drops whole maps of single examples."""

    units = "feature maps"

    def __init__(self, site: str, rate: float):
        super().__init__("spatial_dropout", site, rate)

    def mask_shape(self, inputs: Tensor) -> torch.Size:
        """Return (N, channels): a draw for every map of an example."""
        return inputs.shape[:2]

    def masked(self, inputs: Tensor, kept: Tensor) -> Tensor:
        """Return the maps with those dropped where `kept` is false."""
        return spatial_dropout(inputs, kept, self.rate)
