"""A network of the user's own: `model: {import: mypackage.models:Net, arguments: {...}}`, any `nn.Module`.

Separate from the networks of this folder because nothing is known of it: it is made by name and has to show what it gives.
How a network of this folder is asked whether it takes the images is here too.
"""

import copy
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import torch
from pydantic import ConfigDict, Field, field_validator
from torch import nn

from pipeline.models._initialization import Network
from pipeline.runtime.errors import Refusal

FAILURES = (Exception, SystemExit)  # whatever code of the user raises


class Model(Network):
    """Settings: the module and what in it makes the network, and the arguments it is given."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", populate_by_name=True)

    target: str = Field(alias="import")
    arguments: dict[str, Any] = Field(default_factory=dict)

    @field_validator("target")
    @classmethod
    def _target_is_a_name_in_a_module(cls, target: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", target):
            raise ValueError("module:name, as in mypackage.models:Net")
        return target


def build(settings: Model, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network, once it has shown that it takes images of `shape` (channels, height, width) to logits (N, classes).

    Raises Refusal where it cannot be imported or made, or gives something else.
    """
    network = _made(settings)
    training = network.training
    _require_logits(
        settings, network, shape, classes, training=False
    )  # which also makes the weights of lazy layers
    with torch.random.fork_rng(devices=[]):
        _require_logits(settings, _copied(settings, network), shape, classes, training=True)
    return network.train(training)


def require_fit(
    network: nn.Module,
    given: Mapping[str, Any],
    shape: tuple[int, ...],
    make: Callable[[dict[str, Any]], nn.Module],
) -> None:
    """Raises Refusal where a network, which `make` makes of `given` (name and settings), is too deep for images of `shape`.

    The network is left as it was.
    """
    widths = given.get("widths", ())
    if not widths or _takes(network, shape):
        return
    fitting = [
        number
        for number in range(1, len(widths))
        if _takes(make({**given, "widths": widths[:number]}), shape)
    ]
    allowed = f"allowed are at most {fitting[-1]}" if fitting else "allowed is another network"
    pixels = "x".join(map(str, shape[1:]))
    raise Refusal(
        f"model.widths: {len(widths)} stages are too many for images of {pixels} pixels; {allowed}"
    )


def _takes(network: nn.Module, shape: tuple[int, ...]) -> bool:
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(_images(shape))
    except RuntimeError:
        return False
    finally:
        network.train(training)
    return True


def _images(shape: tuple[int, ...]) -> torch.Tensor:
    """Two images as they are once standardized: networks that divide by an image's spread can take them."""
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))


def _made(settings: Model) -> nn.Module:
    name, _, attribute = settings.target.partition(":")
    try:
        module = importlib.import_module(name)
        if not hasattr(module, attribute):
            raise _refusal(
                settings,
                f"does not exist; allowed are: {', '.join(_networks(module)) or 'none there yet'}",
            )
        make: Callable[..., nn.Module] = getattr(module, attribute)
        _require_arguments(settings, make)
        network = make(**settings.arguments)
    except Refusal:
        raise
    except FAILURES as error:
        raise _refusal(settings, f"cannot be made: {_line(error)}") from None
    if not isinstance(network, nn.Module):
        raise _refusal(
            settings, f"is a {type(network).__name__}; allowed is what makes an nn.Module"
        )
    return network


def _networks(module: ModuleType) -> list[str]:
    """The names of the networks that a module defines."""
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, nn.Module)
    ]
    return sorted({value.__name__ for value in found if value.__module__ == module.__name__})


def _require_arguments(settings: Model, make: Callable[..., nn.Module]) -> None:
    """Raises Refusal where what makes the network does not take the arguments, or needs more."""
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # nothing is known of it, or it is no function at all
        return
    try:
        signature.bind(**settings.arguments)
    except TypeError as error:
        known = ", ".join(signature.parameters) or "none"
        raise Refusal(
            f"model.arguments: {settings.target}: {error}; allowed are: {known}"
        ) from None


def _copied(settings: Model, network: nn.Module) -> nn.Module:
    """A copy, whose buffers and counters may move."""
    try:
        return copy.deepcopy(network)
    except FAILURES as error:
        raise _refusal(settings, f"cannot be copied: {_line(error)}") from None


def _require_logits(
    settings: Model, network: nn.Module, shape: tuple[int, ...], classes: int, training: bool
) -> None:
    """Raises Refusal where the network does not give finite logits for two images in this mode, in which it is left."""
    where = f"images {(2, *shape)}" + " in training mode" * training
    try:
        with torch.set_grad_enabled(training):
            logits = network.train(training)(_images(shape))
    except FAILURES as error:
        raise _refusal(settings, f"fails on {where}: {_line(error)}") from None
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, classes):
        given = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise _refusal(
            settings, f"gives {given} for {where}; allowed is {(2, classes)}, logits for each class"
        )
    if not logits.isfinite().all():
        raise _refusal(
            settings, f"gives values that are not finite for {where}; allowed are finite logits"
        )


def _refusal(settings: Model, what: str) -> Refusal:
    return Refusal(f"model.import: {settings.target} {what}")


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
