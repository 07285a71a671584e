"""Read data sources, one file each; files whose name begins with `_` are shared.

A source defines `Source`, the model of the `source` section of a protocol; `describe(source)`,
which returns the `DatasetInfo` without reading all data; and `read(source)`, which returns the
`Splits`. It logs a warning for parts that it leaves out. A source that can read its labels without
its images may define `labels(source)`, which returns the `Splits` with images of one black pixel:
their sizes are then checked before the data are prepared.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from pipeline.config.settings import Settings
from pipeline.config.validation import checked
from pipeline.data.arrays import Arrays, DatasetInfo, Splits, is_row
from pipeline.data.white import without_rounding
from pipeline.runtime.errors import Refusal

REQUIRED = ("Source", "describe", "read")
PLACES = ("path", "images", "labels", "download")  # settings that say where the files are


def settings() -> dict[str, type[Settings]]:
    """Return the model of the `source` section of every data source, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: _module(name).Source for name in names if not name.startswith("_")}


def describe(name: str, source: Mapping[str, Any]) -> DatasetInfo:
    """Return the properties of the dataset `name`, read from the place in `source`."""
    info: DatasetInfo = _module(name).describe(_checked(name, source))
    return info


def format_settings(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a source that say how its files are read, not where they are."""
    return {key: value for key, value in source.items() if key not in PLACES}


def read(name: str, source: Mapping[str, Any]) -> Splits:
    """Return all examples.

    Raises:
        Refusal: They are not what `Arrays` and `describe` promise.
    """
    info = describe(name, source)
    source_splits: Splits = _module(name).read(_checked(name, source))
    splits = {split: _clipped(arrays) for split, arrays in source_splits.arrays.items()}
    errors = []
    for split, arrays in splits.items():
        errors += [f"{_file(name)}: read(): {split}: {line}" for line in arrays.errors(info)]
    if errors:
        raise Refusal(*errors)
    return Splits.of(splits, source_splits.class_names, source_splits.feature_names)


def read_labels(name: str, source: Mapping[str, Any]) -> Splits | None:
    """Return all labels, with images of one black pixel; None if they need the images read."""
    module = _module(name)
    if not hasattr(module, "labels"):
        return None
    splits: Splits = module.labels(_checked(name, source))
    return splits


def _clipped(arrays: Arrays) -> Arrays:
    """Return the arrays, with images that only rounding puts outside 0 to 1 clipped to it."""
    if arrays.images.dtype != np.float32 or not len(arrays.images) or is_row(arrays.shape):
        return arrays
    return dataclasses.replace(arrays, images=without_rounding(arrays.images))


def _checked(name: str, source: Mapping[str, Any]) -> Settings:
    model: type[Settings] = _module(name).Source
    return checked(model, dict(source), f"dataset {name}", "source")


def _module(name: str) -> ModuleType:
    module = importlib.import_module(f"pipeline.data.sources.{name}")
    if missing := [attribute for attribute in REQUIRED if not hasattr(module, attribute)]:
        raise Refusal(
            f"{_file(name)}: {', '.join(missing)}: missing; "
            f"expected {', '.join(REQUIRED)}, as in {_file('__init__')}"
        )
    return module


def _file(name: str) -> str:
    return f"pipeline/data/sources/{name}.py"
