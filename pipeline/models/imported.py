"""A network of the user's own: `model: {import: mypackage.models:Net, arguments: {...}}`, any `nn.Module`.

Separate from the networks of this folder because nothing is known of it: it is made by name and has to show what it gives.
"""

import importlib
import re
from collections.abc import Callable
from typing import Any

import torch
from pydantic import ConfigDict, Field, field_validator
from torch import nn

from pipeline.config.errors import Refusal
from pipeline.models.initialization import Network


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
    try:
        with torch.no_grad():
            logits = network.eval()(torch.zeros(2, *shape))
    except Exception as error:
        raise _refusal(settings, f"fails on images {(2, *shape)}: {_line(error)}") from None
    network.train(training)
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, classes):
        given = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise _refusal(settings, f"gives {given} for images {(2, *shape)}; allowed is {(2, classes)}, logits for each class")
    return network


def _made(settings: Model) -> nn.Module:
    name, _, attribute = settings.target.partition(":")
    try:
        make: Callable[..., nn.Module] = getattr(importlib.import_module(name), attribute)
        network = make(**settings.arguments)
    except Exception as error:  # whatever code of the user raises
        raise _refusal(settings, f"cannot be made: {_line(error)}") from None
    if not isinstance(network, nn.Module):
        raise _refusal(settings, f"is a {type(network).__name__}; allowed is what makes an nn.Module")
    return network


def _refusal(settings: Model, what: str) -> Refusal:
    return Refusal(f"model.import: {settings.target} {what}")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
