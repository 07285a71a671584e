"""Weight averaging: the network tested is a mean of the weights along training, not the last of them.

Exponential (EMA), or the plain mean of Polyak and Juditsky (Acceleration of Stochastic Approximation by Averaging,
SIAM J. Control Optim. 30, 1992) and of SWA (Izmailov et al., UAI 2018), from `start` on. Batch-norm statistics are
computed anew for the averaged weights; the raw weights are kept beside them. Test rule: deterministic, with the
averaged weights.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.data.loader import as_fractions
from pipeline.regularizers.base import Evidence, Measures, Regularizer, mode, require_effect

Weights = dict[str, Tensor]
NORMS = nn.modules.batchnorm._BatchNorm


def ema(average: Tensor, value: Tensor, decay: float) -> Tensor:
    """decay * average + (1 - decay) * value."""
    return average.lerp(value, 1 - decay)


def running_mean(average: Tensor, value: Tensor, count: int) -> Tensor:
    """The mean of count + 1 values, from the mean of the first `count` and the new one."""
    return average + (value - average) / (count + 1)


class WeightAveraging(Regularizer):
    """`kind`: ema or mean; `decay` of the EMA per update; `start`: share of training after which averaging begins.

    A decay of 0 keeps the last weights, so it is neutral. The first weights averaged are copied, which gives them
    the mass that an EMA started at zero would have to be corrected for.
    """

    name: ClassVar[str] = "weight_averaging"

    clashes: ClassVar[Mapping[str, str]] = {
        "early_stopping": "it watches and restores the raw weights, so that no average would be tested"
    }

    kind: Literal["ema", "mean"] = "ema"
    decay: float = Field(0.98, ge=0, lt=1)
    start: float = Field(0, ge=0, lt=1)

    @classmethod
    def neutral(cls) -> Self:
        """An average of the last weights alone."""
        return cls(decay=0)

    def is_neutral(self) -> bool:
        """An average of the last weights alone, whatever its start."""
        return self.kind == "ema" and self.decay == 0

    def effect(self, network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
        """A plain mean has no decay."""
        return self.model_dump(mode="json", exclude={"decay"} if self.kind == "mean" else None)

    def callbacks(self) -> list[Any]:
        """The one that averages."""
        return [Averager(self.kind, self.decay, self.start)]

    def audit(self, evidence: Evidence) -> Measures:
        """How many weights were averaged, and how far the average lies from the raw weights (relative norm)."""
        (averager,) = evidence.callbacks
        require_effect(
            averager.distance > 0 or averager.count == 1,
            0,
            f"weight_averaging: the average of {averager.count} weights is the raw weights",
        )
        final = dict(evidence.network.named_parameters())
        replaced = [
            name for name, value in averager.average.items() if not torch.equal(final[name], value)
        ]
        require_effect(
            not replaced,
            0,
            f"weight_averaging: {len(replaced)} tensors at the end are not the average of training",
        )
        return {"averaged": float(averager.count), "distance": averager.distance}


class Averager:
    """Averages after every update from `start` on; puts the average in place at the end."""

    def __init__(self, kind: str, decay: float, start: float):
        self.kind, self.decay, self.start = kind, decay, start
        self.count = 0
        self.average: Weights = {}
        self.raw: Weights = {}
        self.distance = 0.0

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
        """Takes the weights after this update into the average."""
        if trainer.global_step <= self.start * trainer.estimated_stepping_batches:
            return
        for name, value in pl_module.network.named_parameters():
            known = self.average.get(name)
            self.average[name] = (
                value.detach().clone() if known is None else self._blend(known, value.detach())
            )
        self.count += 1

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Keeps the raw weights, puts the average in place and computes batch-norm statistics for it."""
        if not self.count:
            return
        network = pl_module.network
        self.raw = {name: value.detach().clone() for name, value in network.state_dict().items()}
        difference = torch.cat(
            [(self.average[name] - self.raw[name]).flatten() for name in self.average]
        )
        self.distance = float(
            difference.norm()
            / torch.cat([self.raw[name].flatten() for name in self.average]).norm()
        )
        network.load_state_dict({**self.raw, **self.average})
        if self.decay or self.kind == "mean":
            refresh_statistics(
                network, trainer.train_dataloader.images, trainer.train_dataloader.size
            )

    def kept(self) -> dict[str, Weights]:
        """The weights before averaging."""
        return {"raw": self.raw} if self.raw else {}

    def state_dict(self) -> dict[str, Any]:
        """The average so far, for a checkpoint."""
        return {"count": self.count, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up where the checkpoint was written."""
        self.count, self.average = state_dict["count"], state_dict["average"]

    def _blend(self, known: Tensor, value: Tensor) -> Tensor:
        known = known.to(value.device)  # a checkpoint's lies on the processor
        return (
            ema(known, value, self.decay)
            if self.kind == "ema"
            else running_mean(known, value, self.count)
        )


@torch.no_grad()
def refresh_statistics(network: nn.Module, images: Tensor, batch_size: int) -> None:
    """Batch-norm means and variances of the present weights: the mean over one pass of `images` in batches, without noise."""
    device = next(network.parameters()).device
    norms = [
        module
        for module in network.modules()
        if isinstance(module, NORMS) and module.running_mean is not None
    ]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a cumulative mean
    with mode(network, training=True, sampling=False):
        for batch in images.split(batch_size):
            if len(batch) == batch_size:
                network(as_fractions(batch.to(device)))
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
