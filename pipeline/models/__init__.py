"""Plain networks that know nothing of regularizers, one file each."""

import importlib
import pkgutil
from typing import Any

from pipeline.config.schema import Settings
from pipeline.models.standardized import Standardized

SHARED = ("regions", "residuals", "sites", "standardized")


def settings() -> dict[str, type[Settings]]:
    """Name -> model of its settings, for every file of this folder that is a network."""
    found = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in SHARED)
    return {name: importlib.import_module(f"pipeline.models.{name}").Model for name in found}


def build(given: dict[str, Any], shape: tuple[int, ...], classes: int) -> Standardized:
    """The network that `given` (its name and settings) describes, for images of `shape` (channels, height, width).

    Initial weights come from the global generator; seed it first.
    """
    values = {key: value for key, value in given.items() if key != "name"}
    module = importlib.import_module(f"pipeline.models.{given['name']}")
    network = module.build(module.Model.model_validate(values, strict=False), shape, classes)
    return Standardized(network, shape[0])
