"""Define the settings that decide one training, and the hardware it runs on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.config.settings import Settings, Word
from pipeline.config.streams import Streams


class Data(Settings):
    """The dataset and the sizes of its splits.

    Attributes:
        dataset: The name of a source of `pipeline/data/sources`.
        classes: The classes that are kept, by number or name, in the order of the labels; null:
            all of the dataset.
        per_class: The number of training examples of each of `classes`, in place of `train_size`.
        train_size: The number of training examples of a run.
        validation_size: The number of validation examples. null: all examples that are not used for
            training, or the whole validation set of a dataset that has one.
        label_noise: Share of training labels drawn at random.
        test_fraction: Share of a dataset without a test set that is held out as one.
    """

    dataset: Word
    classes: tuple[int | str, ...] | None = Field(None, min_length=2)
    per_class: int | None = Field(None, ge=1)
    train_size: int = Field(ge=2)
    validation_size: int | None = Field(None, ge=2)
    label_noise: float = Field(0.0, ge=0, le=1)
    test_fraction: float = Field(0.4, gt=0, lt=1)

    @field_validator("classes", mode="before")
    @classmethod
    def _lists_are_taken(cls, given: Any) -> Any:
        return tuple(given) if isinstance(given, list) else given

    @model_validator(mode="before")
    @classmethod
    def _per_class_gives_the_size(cls, given: Any) -> Any:
        """Set the number of training examples that `per_class` stands for."""
        if not isinstance(given, dict) or given.get("per_class") is None:
            return given
        number, classes = given["per_class"], given.get("classes")
        if not isinstance(number, int):
            return given
        count = len(classes) if isinstance(classes, list | tuple) else 2  # refused below
        return {**given, "train_size": max(number, 1) * count}

    @model_validator(mode="after")
    def _classes_are_counted_once(self) -> Self:
        if self.classes and len(set(self.classes)) < len(self.classes):
            raise ValueError("each of classes once")
        if self.per_class and not self.classes:
            raise ValueError("classes beside per_class, as in [0, 1, 2]")
        return self


class Training(Settings):
    """How a network is trained; the same for every arm unless an arm changes it.

    Attributes:
        learning_rate: The highest learning rate; the schedule multiplies it.
        optimizer: Name and settings of one of `pipeline/optimizers`; a name stands for its
            defaults.
        schedule: Name and settings of one of `pipeline/schedules`, in the same form.
        warm_up: The share of the updates in which the learning rate rises linearly, before the
            schedule begins.
        epochs: Passes over the training examples.
        batch_size: Examples of an update; an incomplete last batch is left out.
        curve_points: Points of the learning curve.
        precision: The precision, as Lightning names it.
        snapshots: The number of snapshots of the weights, evenly spaced after the warm-up; also the
            number of cycles of cyclic_cosine.
    """

    learning_rate: float = Field(gt=0)
    optimizer: dict[str, Any] = Field({"name": "sgd"})
    schedule: dict[str, Any] = Field({"name": "one_cycle"})
    warm_up: float = Field(0.0, ge=0, lt=1)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    curve_points: int = Field(10, ge=1)
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    snapshots: int = Field(0, ge=0)

    @field_validator("optimizer", "schedule", mode="before")
    @classmethod
    def _name_stands_for_its_defaults(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given


class RunConfig(Settings):
    """Everything that decides one training.

    Attributes:
        data: The dataset and its split.
        model: The network.
        training: How it is trained.
        start: What is done with the weights it starts from, as `RunStart`; empty for random ones.
        regularizers: The regularizers, in order.
        streams: The seeds.
    """

    data: dict[str, Any]
    model: dict[str, Any]
    training: dict[str, Any]
    start: dict[str, Any] = Field(default_factory=dict)
    regularizers: tuple[dict[str, Any], ...]
    streams: Streams


class Hardware(Settings):
    """What one run is trained on, as Lightning names it; other hardware gives other bits.

    Attributes:
        accelerator: auto: a GPU where there is one.
        devices: The devices of one run; each takes its share of every batch.
        strategy: How several devices cooperate.
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = Field(1, ge=1)
    strategy: str = Field("auto", min_length=1)


def config_of(identity: Mapping[str, Any]) -> RunConfig:
    """Return the settings inside an identity.

    Raises:
        ValidationError: The values are not those of an identity.
    """
    settings = {key: identity[key] for key in RunConfig.model_fields}
    return RunConfig.model_validate_json(json.dumps(settings))


def read_config(path: Path) -> RunConfig:
    """Return the settings of a stored run, from its `run.json`."""
    return config_of(json.loads(path.read_text(encoding="utf-8")))
