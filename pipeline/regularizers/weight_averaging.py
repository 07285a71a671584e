"""Weight averaging: the network tested is a mean of the weights along training, not the last ones.

Exponential (EMA), or the plain mean of Polyak and Juditsky (Acceleration of Stochastic
Approximation by Averaging, SIAM J. Control Optim. 30, 1992) and of SWA (Izmailov et al., UAI 2018),
from `start` on. Running statistics are recomputed for the averaged weights; the raw weights are
stored too.
Test rule: deterministic, with the averaged weights.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.regularizers._audit import AuditInputs, Measures, require_effect
from pipeline.regularizers._callback import TrainingCallback
from pipeline.regularizers._refresh import other_buffers, refresh_statistics
from pipeline.regularizers._regularizer import Regularizer

Weights = dict[str, Tensor]


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

    Polyak and Juditsky, SIAM J. Control Optim. 30, 1992.

    Args:
        average: The mean of the first `count` values.
        value: The new one, of the same shape.
        count: The number of values so far.
    """
    return average + (value - average) / (count + 1)


@final
class WeightAveraging(Regularizer):
    """Settings of weight averaging.

    A decay of 0 keeps the last weights, so it is neutral. The average starts as a copy of the first
    weights, so no correction for a start at zero is needed.

    Attributes:
        kind: ema or mean.
        decay: The decay of the EMA per update.
        start: The share of training after which averaging begins.
    """

    name: ClassVar = "weight_averaging"
    family: ClassVar = "training"
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
        """Return how many weights were averaged, and the relative distance to the raw weights.

        Raises:
            NoEffect: The average of several weights equals the raw weights, or the final weights
                are not the average.
        """
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
    """A callback that averages the weights after every update from `start` on.

    The average replaces the weights at the end.
    """

    state: ClassVar = ("count", "average", "buffers")

    def __init__(self, kind: str, decay: float, start: float):
        self.kind, self.decay, self.start = kind, decay, start
        self.count = 0
        self.average: Weights = {}
        self.buffers: Weights = {}  # averages of them
        self.raw: Weights = {}
        self.distance = 0.0

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Any, task: Any) -> None:
        """Add the weights after this update to the average."""
        if trainer.global_step <= self.start * trainer.estimated_stepping_batches:
            return
        for name, parameter in _all_parameters(task.network):
            self._add(self.average, name, parameter.detach())
        for name, buffer in other_buffers(task.network):
            if buffer.is_floating_point():
                self._add(self.buffers, name, buffer)
        self.count += 1

    def on_train_end(self, trainer: Any, task: Any) -> None:
        """Keep the raw weights, load the average and recompute running statistics for it."""
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
            refresh_statistics(network, batches.images, batches.size, self.buffers)

    def kept_weights(self) -> dict[str, list[Weights]]:
        """Return the raw weights, to store next to the average."""
        return {"raw": [self.raw]} if self.raw else {}

    def _add(self, averages: Weights, name: str, value: Tensor) -> None:
        average = averages.get(name)
        if average is None or average.shape != value.shape:
            averages[name] = value.clone()
            return
        average = average.to(value.device)  # that of a checkpoint is on the CPU
        if not torch.equal(average, value):  # values that are not finite have no mean
            averages[name] = self._blend(average, value)

    def _blend(self, average: Tensor, value: Tensor) -> Tensor:
        if self.kind == "ema":
            return ema(average, value, self.decay)
        return running_mean(average, value, self.count)


def _all_parameters(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield parameters under all their names: a tied one has several."""
    return network.named_parameters(remove_duplicate=False)
