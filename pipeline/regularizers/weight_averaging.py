"""Weight averaging: the network tested is a mean of the weights along training, not the last ones.

Exponential (EMA), or the plain mean of Polyak and Juditsky (Acceleration of Stochastic
Approximation by Averaging, SIAM J. Control Optim. 30, 1992) and of SWA (Izmailov et al., UAI 2018),
from `start` on. Batch-norm statistics are recomputed for the averaged weights; the raw weights are
stored too.
Test rule: deterministic, with the averaged weights.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.data.loader import as_fractions
from pipeline.models._randomness import restored_globals, seed_globals
from pipeline.regularizers._audit import AuditInputs, Measures, require_effect
from pipeline.regularizers._callback import TrainingCallback
from pipeline.regularizers._noise import mode
from pipeline.regularizers._regularizer import Regularizer

Weights = dict[str, Tensor]
NORMS = nn.modules.batchnorm._BatchNorm


def ema(average: Tensor, value: Tensor, decay: float) -> Tensor:
    """Return decay * average + (1 - decay) * value.

    Args:
        average: The average so far.
        value: The new weights, of the same shape.
        decay: In [0, 1).
    """
    return average.lerp(value, 1 - decay)


def running_mean(average: Tensor, value: Tensor, count: int) -> Tensor:
    """Return the mean of count + 1 values.

    Args:
        average: The mean of the first `count` values.
        value: The new one, of the same shape.
        count: The number of values so far.
    """
    return average + (value - average) / (count + 1)


@final
class WeightAveraging(Regularizer):
    """Settings of weight averaging.

    A decay of 0 keeps the last weights, so it is neutral. The first weights averaged are copied,
    which gives them the mass that an EMA started at zero would have to be corrected for.

    Attributes:
        kind: ema or mean.
        decay: That of the EMA, per update.
        start: The share of training after which averaging begins.
    """

    name: ClassVar = "weight_averaging"
    clashes: ClassVar = {
        "early_stopping": "it restores the raw weights, so that no average would be tested"
    }
    off: ClassVar = {"kind": "ema", "decay": 0}

    kind: Literal["ema", "mean"] = "ema"
    decay: float = Field(0.98, ge=0, lt=1)
    start: float = Field(0, ge=0, lt=1)

    def effect(self, network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the settings; a plain mean has no decay."""
        return self.model_dump(mode="json", exclude={"decay"} if self.kind == "mean" else None)

    def callbacks(self) -> list[TrainingCallback]:
        """Return a new averager."""
        return [Averager(self.kind, self.decay, self.start)]

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return how many weights were averaged, and the relative distance to the raw weights."""
        (averager,) = inputs.callbacks
        require_effect(
            averager.distance > 0 or averager.count == 1,
            0,
            f"{self.name}: the average of {averager.count} weights is the raw weights",
        )
        final_weights = dict(_all_parameters(inputs.network))
        replaced = [
            name
            for name, value in averager.average.items()
            if not torch.equal(final_weights[name], value)
        ]
        require_effect(
            not replaced,
            0,
            f"{self.name}: {len(replaced)} tensors at the end are not the average of training",
        )
        return {"averaged": float(averager.count), "distance": averager.distance}


@final
class Averager(TrainingCallback):
    """Averages after every update from `start` on; the average replaces the weights at the end."""

    state: ClassVar = ("count", "average")

    def __init__(self, kind: str, decay: float, start: float):
        self.kind, self.decay, self.start = kind, decay, start
        self.count = 0
        self.average: Weights = {}
        self.raw: Weights = {}
        self.distance = 0.0

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Any, task: Any) -> None:
        """Add the weights after this update to the average."""
        if trainer.global_step <= self.start * trainer.estimated_stepping_batches:
            return
        for name, parameter in _all_parameters(task.network):
            value, average = parameter.detach(), self.average.get(name)
            self.average[name] = value.clone() if average is None else self._blend(average, value)
        self.count += 1

    def on_train_end(self, trainer: Any, task: Any) -> None:
        """Keep the raw weights, load the average and recompute batch-norm statistics for it."""
        if not self.count:
            return
        network = task.network
        self.raw = {name: value.detach().clone() for name, value in network.state_dict().items()}
        raw = torch.cat([self.raw[name].flatten() for name in self.average])
        average = torch.cat([value.flatten() for value in self.average.values()])
        self.distance = float((average - raw).norm() / raw.norm())
        network.load_state_dict({**self.raw, **self.average})
        if self.decay or self.kind == "mean":
            batches = trainer.train_dataloader
            refresh_statistics(network, batches.images, batches.size)

    def kept_weights(self) -> dict[str, list[Weights]]:
        """Return the raw weights, to store next to the average."""
        return {"raw": [self.raw]} if self.raw else {}

    def _blend(self, average: Tensor, value: Tensor) -> Tensor:
        average = average.to(value.device)  # that of a checkpoint is on the CPU
        if self.kind == "ema":
            return ema(average, value, self.decay)
        return running_mean(average, value, self.count)


def _all_parameters(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield parameters under all their names: a tied one has several."""
    return network.named_parameters(remove_duplicate=False)


@torch.no_grad()
def refresh_statistics(network: nn.Module, images: Tensor, batch_size: int) -> None:
    """Recompute batch-norm means and variances for the present weights.

    They are the means over one pass in whole batches, without noise. A norm that this pass does not
    update, since it is in evaluation mode or never called, keeps its statistics.

    Args:
        network: The network, changed in place.
        images: (N, channels, height, width).
        batch_size: The number of images in a batch.
    """
    device = next(network.parameters()).device
    norms = [
        module
        for module in network.modules()
        if isinstance(module, NORMS) and module.running_mean is not None
    ]
    momenta = [norm.momentum for norm in norms]
    statistics = [{key: value.clone() for key, value in norm.named_buffers()} for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    with mode(network, training=True, sampling=False), restored_globals():
        seed_globals(0, "statistics")
        for batch in images.split(batch_size):
            if len(batch) == batch_size:
                network(as_fractions(batch.to(device)))
    for norm, momentum, before in zip(norms, momenta, statistics, strict=True):
        norm.momentum = momentum
        if not norm.num_batches_tracked:
            norm.load_state_dict(before, strict=False)
