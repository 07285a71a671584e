"""Find the optimizers, one file each; a file's name is the optimizer's name in YAML.

Files whose name begins with an underscore are shared.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.config.crawling import class_of, file_names
from pipeline.optimizers._optimizer import Optimizer


def names() -> tuple[str, ...]:
    """Return the names of all optimizers: the files of this folder, in order."""
    return file_names(__path__)


def settings() -> dict[str, type[Optimizer]]:
    """Return name -> the optimizer class that its file defines."""
    return {name: class_of(__name__, name, Optimizer) for name in names()}


def parse(given: Mapping[str, Any]) -> Optimizer:
    """Return the optimizer of plain values (`name` and settings)."""
    values = {key: value for key, value in given.items() if key != "name"}
    return class_of(__name__, given["name"], Optimizer).model_validate(values, strict=False)
