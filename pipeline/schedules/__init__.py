"""Find the learning-rate schedules, one file each; a file's name is the schedule's name in YAML.

Files whose name begins with an underscore are shared.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.config.crawling import class_of, file_names
from pipeline.schedules._schedule import Schedule


def names() -> tuple[str, ...]:
    """Return the names of all schedules: the files of this folder, in order."""
    return file_names(__path__)


def settings() -> dict[str, type[Schedule]]:
    """Return name -> the schedule class that its file defines."""
    return {name: class_of(__name__, name, Schedule) for name in names()}


def parse(given: Mapping[str, Any]) -> Schedule:
    """Return the schedule of plain values (`name` and settings)."""
    values = {key: value for key, value in given.items() if key != "name"}
    return class_of(__name__, given["name"], Schedule).model_validate(values, strict=False)
