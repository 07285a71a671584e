"""Data sources, one file each, and what every source shares: splits, batches, prepared arrays."""

import importlib
import pkgutil

from pipeline.config.errors import Refusal
from pipeline.data.arrays import Arrays

SHARED = ("arrays", "loader", "prepared", "splits")


def names() -> tuple[str, ...]:
    """The datasets there are: every file of this folder that is a source."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in SHARED))


def images(name: str) -> tuple[tuple[int, int, int], int]:
    """Shape (channels, height, width) of a dataset's images and the number of classes, without reading it."""
    source = importlib.import_module(f"pipeline.data.{name}")
    return source.SHAPE, source.CLASSES


def flips_keep_labels(name: str) -> bool:
    """Whether the mirror image of an example has its label."""
    return bool(importlib.import_module(f"pipeline.data.{name}").FLIPS_KEEP_LABELS)


def read(name: str) -> Arrays:
    """All examples of a dataset. `name` is one of `names()`. Raises Refusal where they are not what `Arrays` says."""
    source = importlib.import_module(f"pipeline.data.{name}")
    if not hasattr(source, "read"):
        raise Refusal(f"pipeline/data/{name}.py: has no read(); needed is a function read() that gives Arrays")
    arrays: Arrays = source.read()
    mistakes = list(arrays.mistakes())
    if mistakes:
        raise Refusal(*(f"pipeline/data/{name}.py: read(): {mistake}" for mistake in mistakes))
    return arrays
