"""Regularizers, one file each: the file's name is its name in YAML, and there is no list to edit."""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pipeline.config.test_rules import DETERMINISTIC
from pipeline.regularizers.base import Regularizer
from pipeline.runtime.errors import Refusal


def names() -> tuple[str, ...]:
    """Every regularizer there is: the files of this folder."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if name != "base" and not name.startswith("_")))


def settings() -> dict[str, type[Regularizer]]:
    """Name -> the regularizer class that its file defines."""
    return {name: _defined(name) for name in names()}


def build(given: Sequence[Mapping[str, Any]]) -> tuple[Regularizer, ...]:
    """Regularizers from plain values (`name` and settings), without those that are neutral.

    Leaving the neutral ones out is what makes them equal to the baseline bit for bit.
    """
    items = [
        _built(item["name"], {key: value for key, value in item.items() if key != "name"})
        for item in given
    ]
    return tuple(item for item in items if not item.is_neutral())


def equip(network: nn.Module, regularizers: Sequence[Regularizer]) -> None:
    """Lets every regularizer place its noise in the network, in order; weights stay as they are. Raises Refusal."""
    _require_meaning(regularizers)
    for regularizer in regularizers:
        regularizer.modify_model(network)


def test_rule(regularizers: Sequence[Regularizer]) -> str:
    """The members averaged at test: that of the first regularizer which declares any but the deterministic one."""
    declared = [item.rule for item in regularizers if item.rule != DETERMINISTIC]
    return declared[0] if declared else DETERMINISTIC


def _require_meaning(given: Sequence[Regularizer]) -> None:
    """Refuses regularizers that declare to have no meaning together."""
    present = {item.name: item for item in given}
    pairs = [
        (name, other, why)
        for name, item in present.items()
        for other, why in item.clashes.items()
        if other in present
    ]
    if pairs:
        raise Refusal(
            *(
                f"{name} with {other}: {why}; allowed is one of the two in an arm"
                for name, other, why in pairs
            )
        )


def _built(name: str, values: Mapping[str, Any]) -> Regularizer:
    return _defined(name).model_validate(values, strict=False)


def _defined(name: str) -> type[Regularizer]:
    module = importlib.import_module(f"pipeline.regularizers.{name}")
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and item.__module__ == module.__name__
    ]
    (regularizer,) = [item for item in found if issubclass(item, Regularizer)]
    if getattr(regularizer, "name", None) != name:
        raise Refusal(
            f"pipeline/regularizers/{name}.py: {regularizer.__name__}.name: expected {name!r}, the name of its file"
        )
    return regularizer
