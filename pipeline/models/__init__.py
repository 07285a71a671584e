"""Plain networks that know nothing of regularizers, one file each."""

import importlib
import pkgutil
from typing import Any

from pipeline.config.settings import Settings
from pipeline.models._initialization import Network, initialize
from pipeline.models._standardized import Standardized
from pipeline.runtime.errors import Refusal


def settings() -> dict[str, type[Settings]]:
    """Name -> model of its settings, for every file of this folder that is a network, and for `imported` ones."""
    found = sorted(
        module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    )
    models = {name: importlib.import_module(f"pipeline.models.{name}").Model for name in found}
    if other := [name for name, model in models.items() if not issubclass(model, Network)]:
        raise Refusal(
            f"pipeline/models/{other[0]}.py: Model: allowed is a class made from pipeline.models._initialization.Network"
        )
    return models


def build(given: dict[str, Any], shape: tuple[int, ...], classes: int) -> Standardized:
    """The network that `given` (its name and settings) describes, for images of `shape` (channels, height, width).

    Initial weights come from the global generator; seed it first.
    """
    values = {key: value for key, value in given.items() if key != "name"}
    module = importlib.import_module(f"pipeline.models.{given['name']}")
    settings = module.Model.model_validate(values, strict=False)
    network = module.build(settings, shape, classes)
    initialize(network, settings.initialization)
    return Standardized(network, shape[0])
