"""Build plain networks without regularizers, one file each."""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

import torch

from pipeline.config.settings import Settings
from pipeline.data.arrays import is_row
from pipeline.models._initialization import Network, initialize
from pipeline.models._standardized import Inputs, Standardized
from pipeline.runtime.errors import Refusal


def settings() -> dict[str, type[Settings]]:
    """Return name -> class of its settings, for every file of this folder that is a network."""
    names = sorted(
        module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    )
    models = {name: importlib.import_module(f"pipeline.models.{name}").Model for name in names}
    if other := [name for name, model in models.items() if not issubclass(model, Network)]:
        raise Refusal(
            f"pipeline/models/{other[0]}.py: Model: invalid value {models[other[0]].__name__}; "
            "expected a subclass of pipeline.models._initialization.Network"
        )
    return models


def build(given: dict[str, Any], shape: tuple[int, ...], classes: int) -> Standardized:
    """Return a network with its standardization; seed the global generator first.

    Args:
        given: Its name and settings.
        shape: (channels, height, width) of the examples.
        classes: The number of logits.

    Raises:
        Refusal: The network is for images, and the examples are rows of a table.
    """
    torch.backends.mha.set_fastpath_enabled(False)  # it calls no module inside, so no noise layer
    module = importlib.import_module(f"pipeline.models.{given['name']}")
    if is_row(shape) and not module.Model.takes_rows:
        raise Refusal(
            f"model.name: {given['name']} takes images, and the data are rows of a table; "
            "expected mlp, without hidden layers for logistic regression"
        )
    settings = _settings(given)
    network = module.build(settings, shape, classes)
    initialize(network, settings.initialization)
    probed = module.probed(network, shape) if hasattr(module, "probed") else None
    inputs = Inputs(shape, settings.input_normalization, settings.input_statistics)
    return Standardized(network, inputs, probed)


def effect(given: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Return plain values that are equal for settings which make the same network.

    Args:
        given: Its name and settings.
        shape: (channels, height, width) of the examples.
    """
    return {"name": given["name"], **_settings(given).effect(shape)}


def _settings(given: Mapping[str, Any]) -> Network:
    model: type[Network] = importlib.import_module(f"pipeline.models.{given['name']}").Model
    values = {key: value for key, value in given.items() if key != "name"}
    return model.model_validate(values, strict=False)
