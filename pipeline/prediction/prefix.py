"""Repeat passes over the same inputs, with everything before the first noise computed once.

The passes are those of calling the network repeatedly. A network whose only noise is in its head
spends nearly all of a pass before it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.models._randomness import global_states
from pipeline.regularizers._noise import NoiseLayer, noise_layers


@torch.no_grad()
def repeated(network: nn.Module, images: Tensor, prepare: Sequence[Callable[[], None]]) -> Tensor:
    """Return logits (passes, N, classes): one call on `images` after each of `prepare`.

    The first pass is repeated from what was recorded. A network for which that gives other bits is
    called in full, and so is one that draws from the global generators.
    """
    first, *others = prepare
    first()
    if not others:
        return torch.stack([network(images)])
    states = global_states()
    with _recorded(network) as outputs:
        begin = network(images)
    if (
        not outputs
        or global_states() != states
        or not _faithful(network, images, first, outputs, begin)
    ):
        outputs = {}
    members = [begin]
    for ready in others:
        ready()
        with _replayed(outputs):
            members.append(network(images))
    return torch.stack(members)


@dataclass
class Output:
    """What a module returned, and a copy in case a later module works on it in place."""

    given: Tensor
    copy: Tensor
    version: int  # torch counts the changes in place

    def again(self) -> Tensor:
        """Return the output as it was; a copy if it has been changed."""
        return self.given if self.given._version == self.version else self.copy.clone()


Outputs = dict[nn.Module, list[Output]]  # call by call, before any noise


def _faithful(
    network: nn.Module, images: Tensor, first: Callable[[], None], outputs: Outputs, given: Tensor
) -> bool:
    """Return whether the replayed first pass equals it.

    Modules may share what they change, or be called in other ways.
    """
    first()
    try:
        with _replayed(outputs):
            return torch.equal(network(images), given)
    except Exception:  # whatever the reason, calling the network again is right
        return False


@contextmanager
def _recorded(network: nn.Module) -> Iterator[Outputs]:
    """Record what quiet modules return until the first noise layer is called."""
    outputs: Outputs = defaultdict(list)
    begun: list[NoiseLayer] = []

    def note(module: nn.Module, arguments: Any, output: Any) -> None:
        # torch counts no changes of inference tensors
        if not begun and isinstance(output, Tensor) and not output.is_inference():
            outputs[module].append(Output(output, output.clone(), output._version))

    hooks = [module.register_forward_hook(note) for module in _quiet(network)]
    hooks += [
        layer.register_forward_pre_hook(lambda layer, _: begun.append(layer))
        for layer in noise_layers(network)
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _replayed(outputs: Outputs) -> Iterator[None]:
    """Replay what the modules returned, as often as they did before any noise, then compute."""
    for module, recorded in outputs.items():
        module.__dict__["forward"] = _replay(module, iter(recorded))
    try:
        yield
    finally:
        for module in outputs:
            del module.__dict__["forward"]


def _replay(module: nn.Module, recorded: Iterator[Output]) -> Callable[..., Any]:
    def forward(*arguments: Any, **named: Any) -> Any:
        output = next(recorded, None)
        return (
            type(module).forward(module, *arguments, **named) if output is None else output.again()
        )

    return forward


def _quiet(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the largest modules without a noise layer, whose forward is that of their class."""
    for child in network.children():
        if (
            any(isinstance(module, NoiseLayer) for module in child.modules())
            or "forward" in child.__dict__
        ):
            yield from _quiet(child)
        else:
            yield child
