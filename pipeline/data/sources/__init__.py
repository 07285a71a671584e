"""Data sources, one file each, and what every source shares: splits, batches, prepared arrays.

A source has the settings it takes (`Source`, the `source` section of a protocol: where the data lie, what to do with a bad
file), `describe`, which says what it will give without reading it all, and `read`, which tells what it leaves out by `remark`.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from pipeline.config.settings import Settings
from pipeline.config.validation import checked
from pipeline.data.arrays import Kind, Parts
from pipeline.runtime.errors import Refusal

NEEDED = {
    "Source": "the model of its settings",
    "describe": "a function describe(source) that gives Kind",
    "read": "a function read(source) that gives Parts",
}


def settings() -> dict[str, type[Settings]]:
    """Name -> model of its `source` section, for every file of this folder that is a source."""
    found = sorted(
        module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    )
    return {name: _module(name).Source for name in found}


def describe(name: str, source: Mapping[str, Any]) -> Kind:
    """What the dataset `name` is, read from where `source` says. Raises Refusal."""
    kind: Kind = _module(name).describe(_checked(name, source))
    return kind


def read(name: str, source: Mapping[str, Any]) -> Parts:
    """All examples of a dataset. Raises Refusal where they are not what `Arrays` and `describe` say."""
    module, kind = _module(name), describe(name, source)
    parts: Parts = module.read(_checked(name, source))
    mistakes = [
        f"pipeline/data/sources/{name}.py: read(): {part}: {mistake}"
        for part, arrays in vars(parts).items()
        if arrays is not None
        for mistake in arrays.mistakes(kind)
    ]
    if mistakes:
        raise Refusal(*mistakes)
    return parts


def _checked(name: str, source: Mapping[str, Any]) -> Settings:
    model: type[Settings] = _module(name).Source
    return checked(model, dict(source), f"dataset {name}", "source")


def _module(name: str) -> ModuleType:
    module = importlib.import_module(f"pipeline.data.sources.{name}")
    for attribute, what in NEEDED.items():
        if not hasattr(module, attribute):
            raise Refusal(f"pipeline/data/sources/{name}.py: has no {attribute}; needed is {what}")
    return module
