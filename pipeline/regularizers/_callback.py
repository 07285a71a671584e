"""Define the hooks of a regularizer during a training run.

No Lightning here: its import takes longer than torch's, and planning, status and prediction import
every regularizer. `training/callbacks.py` passes Lightning's calls on.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor


class TrainingCallback:
    """Base class of callbacks: a subclass overrides the hooks it needs, and each is neutral here.

    Every public function of a subclass, inherited ones included, has to be one of these hooks and
    take its arguments: a misspelt one is an error when the class is created. `trainer` is
    Lightning's trainer and `task` the run's `training.task.Task`, with its `network` and the
    `scores` of the last point of the curve.
    `state` names the attributes that a checkpoint keeps, tensors and plain values.
    """

    state: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        hooks = _public_functions(TrainingCallback)
        for name, function in _public_functions(cls).items():
            if name not in hooks:
                raise TypeError(
                    f"{cls.__name__}.{name}: unknown hook; expected one of {', '.join(hooks)}, "
                    "or a name that begins with an underscore"
                )
            arguments, expected = inspect.signature(function), inspect.signature(hooks[name])
            if len(arguments.parameters) != len(expected.parameters):
                raise TypeError(f"{cls.__name__}.{name}{arguments}: expected {name}{expected}")

    def on_train_start(self, trainer: Any, task: Any) -> None:
        """Run once the optimizer exists, before the first step of a new or resumed run."""

    def on_before_optimizer_step(self, trainer: Any, task: Any) -> None:
        """Run before every update, once the gradients are there."""

    def on_train_batch_end(self, trainer: Any, task: Any) -> None:
        """Run after every update; `trainer.global_step` counts it already."""

    def on_train_epoch_end(self, trainer: Any, task: Any) -> None:
        """Run after every epoch, once the curve has been scored."""

    def on_train_end(self, trainer: Any, task: Any) -> None:
        """Run after the last epoch; the weights left here are those of the run."""

    def kept_weights(self) -> dict[str, list[dict[str, Tensor]]]:
        """Return further weights to store with the run: kind -> states of the network, in order."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the attributes named in `state`."""
        return {name: getattr(self, name) for name in self.state}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name in self.state:
            setattr(self, name, state_dict[name])


def _public_functions(kind: type) -> dict[str, Callable[..., Any]]:
    functions = inspect.getmembers(kind, inspect.isfunction)
    return {name: function for name, function in functions if not name.startswith("_")}
