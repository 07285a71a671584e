"""Define noise layers that drop units: each is kept or dropped at the same rate, and counted."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.regularizers._audit import require_effect, require_rate
from pipeline.regularizers._noise import NoiseLayer


class MaskLayer(NoiseLayer):
    """A layer that draws a mask for every example and counts what it drops.

    It also counts how often its output differed from its input.

    Attributes:
        rate: The chance that a unit is dropped, in [0, 1).
        units: What is dropped, for messages.
    """

    units = "units"

    def __init__(self, regularizer: str, site: str, rate: float):
        super().__init__(regularizer, site)
        self.rate = rate
        self.counts = {"drawn": 0, "kept": 0, "passes": 0, "changed": 0}

    @abstractmethod
    def mask_shape(self, inputs: Tensor) -> torch.Size:
        """Return the shape of the mask for inputs (N, ...)."""

    @abstractmethod
    def masked(self, inputs: Tensor, kept: Tensor) -> Tensor:
        """Return the inputs with the units dropped where the mask is false.

        Args:
            inputs: (N, ...).
            kept: The mask, bool, of the shape `mask_shape(inputs)`.
        """

    def sample(self, inputs: Tensor) -> Tensor:
        """Return inputs (N, ...) with units dropped."""
        draws = torch.rand(self.mask_shape(inputs), generator=self.generator)
        kept = (draws >= self.rate).to(inputs.device)
        outputs = self.masked(inputs, kept)
        changed = not torch.equal(outputs, inputs)
        self.count(drawn=kept.numel(), kept=kept.sum(), changed=changed)
        return outputs

    def realised_rate(self, expected: float) -> float:
        """Return the share of units dropped.

        Args:
            expected: The rate, in [0, 1).

        Returns:
            The share, in [0, 1].

        Raises:
            NoEffect: `expected` does not give this share.
        """
        drawn, passes = int(self.counts["drawn"]), int(self.counts["passes"])
        dropped = drawn - int(self.counts["kept"])
        require_rate(self.regularizer, f"{self.units} at {self.site}", dropped, drawn, expected)
        require_effect(
            int(self.counts["changed"]) > 0,
            (1 - expected) ** drawn,
            f"{self.regularizer}: the output of {self.site} equals its input in all of {passes} "
            f"passes at rate {expected}",
        )
        return dropped / max(drawn, 1)


def mean_rate(name: str, layers: Sequence[NoiseLayer]) -> float:
    """Return the share dropped over all layers.

    Args:
        name: The name of the regularizer, for the error.
        layers: Its layers, with their counts of units and of dropped ones.

    Returns:
        The share, in [0, 1].

    Raises:
        NoEffect: No mask was drawn.
    """
    drawn, kept = (sum(int(layer.counts[key]) for layer in layers) for key in ("drawn", "kept"))
    require_effect(drawn > 0, 0, f"{name}: no mask was drawn")
    return 1 - kept / drawn
