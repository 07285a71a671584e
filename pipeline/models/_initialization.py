"""Draw initial weights: He et al. (ICCV 2015), Glorot and Bengio (AISTATS 2010), small, large."""

from collections.abc import Callable
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from pipeline.config.settings import Settings
from pipeline.models._sites import require_plain_weights
from pipeline.runtime.errors import Refusal

Initialization = Literal["own", "he", "xavier", "small", "large"]
# standard deviations: signals vanish with the one and saturate or explode with the other
SMALL, LARGE = 0.01, 1.0


class Network(Settings):
    """Settings of every network; `own` keeps the weights that PyTorch or the network draws."""

    initialization: Initialization = Field("own")


def initialize(network: nn.Module, how: Initialization) -> None:
    """Redraw the weights of linear layers and convolutions, and set their biases to 0.

    Frozen ones stay.

    Raises:
        Refusal: A layer computes its weight from other parameters, or there is no such layer.
    """
    draw = DRAWS.get(how)
    if draw is None:
        return
    require_plain_weights(network, "model.initialization")
    kinds = nn.Linear, nn.modules.conv._ConvNd
    layers = [layer for layer in network.modules() if isinstance(layer, kinds)]
    drawn = [layer for layer in layers if layer.weight.requires_grad]
    if not drawn:
        raise Refusal(
            f"model.initialization: {how} draws the weights of linear layers and convolutions, "
            "and the network trains none; expected own"
        )
    for layer in drawn:
        draw(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "he": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "xavier": nn.init.xavier_normal_,
    "small": lambda weight: nn.init.normal_(weight, std=SMALL),
    "large": lambda weight: nn.init.normal_(weight, std=LARGE),
}
