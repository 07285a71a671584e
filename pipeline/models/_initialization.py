"""Draw initial weights, and choose how a network normalizes its inputs.

Normal weights of variance 2 / inputs (he: He et al., ICCV 2015), 1 / inputs (xavier, as in CS231n),
2 / (inputs + outputs) (glorot: Glorot and Bengio, AISTATS 2010), or too small or large on purpose.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from pipeline.config.settings import Settings
from pipeline.data.arrays import is_row
from pipeline.models._sites import require_plain_weights
from pipeline.models._standardized import Normalization, Statistics
from pipeline.runtime.errors import Refusal

Initialization = Literal["own", "he", "xavier", "glorot", "small", "large"]
# standard deviations: signals vanish with the one and saturate or explode with the other
SMALL, LARGE = 0.01, 1.0


class Network(Settings):
    """Settings of every network.

    Attributes:
        takes_rows: Whether the network is for rows of a table too, not for images alone.
        initialization: `own` keeps the weights that PyTorch or the network draws.
        input_normalization: none: inputs are not changed; centred: the mean of the training
            examples is subtracted; standardized: the difference is also divided by the standard
            deviation.
        input_statistics: Mean and deviation are computed for each channel (of a table: each
            feature), for each pixel of each channel (feature), or over all pixels (global).
        weights: A file of pretrained weights, relative to the project, from which every run starts:
            .safetensors, or a state dictionary written by `torch.save`. Tensors are loaded if name
            and shape fit.
    """

    takes_rows: ClassVar[bool] = False

    initialization: Initialization = Field("own")
    input_normalization: Normalization = "standardized"
    input_statistics: Statistics = "channel"
    weights: str | None = Field(None, min_length=1)

    def effect(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return plain values that are equal for settings which make the same network.

        Args:
            shape: (channels, height, width) of the examples.
        """
        given = self.input_statistics
        same = {"channel"}
        if self.input_normalization == "none":
            same |= {"feature", "global"}
        if is_row(shape):
            same.add("feature")
        if shape[0] == 1:
            same.add("global")
        statistics = "channel" if given in same else given
        return self.model_dump(mode="json") | {"input_statistics": statistics}


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
    "xavier": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"),
    "glorot": nn.init.xavier_normal_,
    "small": lambda weight: nn.init.normal_(weight, std=SMALL),
    "large": lambda weight: nn.init.normal_(weight, std=LARGE),
}
