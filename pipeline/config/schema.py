"""Strict models of every settings file, and the error lines they give.

Separate from `studies.py`, which turns these models into a plan: here is what may be said, there is
what it means.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.config.errors import Refusal

Model = TypeVar("Model", bound=BaseModel)
Pass = Annotated[int, Field(ge=1, le=20)]  # number of one; predictions have 20
Word = Annotated[str, Field(pattern=r"^[a-z0-9_]+$", max_length=60)]  # becomes a folder name


class Settings(BaseModel):
    """A frozen, strict model: unknown keys, wrong types and numbers out of range are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Data(Settings):
    """What is learned from."""

    dataset: Word
    train_size: int = Field(ge=2)
    validation_size: int | None = Field(None, ge=2)  # null: all that training leaves; one the dataset sets apart is kept whole
    label_noise: float = Field(0.0, ge=0, le=1)
    test_fraction: float = Field(0.4, gt=0, lt=1)


class Training(Settings):
    """How a network is trained; the same for every arm unless an arm says otherwise."""

    learning_rate: float = Field(gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    schedule: Literal["one_cycle", "constant", "cyclic_cosine"] = "one_cycle"
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    curve_points: int = Field(10, ge=1)
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    snapshots: int = Field(0, ge=0)  # weights kept along the way, evenly; as many cycles has cyclic_cosine

    @model_validator(mode="after")
    def _cycles_are_counted(self) -> Self:
        if self.schedule == "cyclic_cosine" and not self.snapshots:
            raise ValueError("cyclic_cosine with snapshots of at least 1, which counts its cycles")
        return self


class Seeds(Settings):
    """How many seeds explore, and how many fresh ones confirm."""

    exploration: int = Field(3, ge=1, le=1000)
    confirmation: int = Field(15, ge=1)


class Ensemble(Settings):
    """How many groups of models are trained to be averaged: a group shares its training split, and nothing else."""

    groups: int = Field(ge=2)
    size: int = Field(ge=2, le=100)


class Variance(Settings):
    """How often each stream is drawn anew while the others stay: `draws` further seeds for each of `groups` seeds."""

    groups: int = Field(ge=2)
    draws: int = Field(ge=1, le=100)


class Published(Settings):
    """An effect that a paper reports, for a report to set beside the one it measures: their signs can be compared.

    `against`: an arm of the same study, or `study.arm`; null: what the arm is compared with. `figures`: before and after, as
    printed there, errors in percent. `passes`: of noise, few and many. `datasets`: those it speaks of; null: any, since it
    is about the method.
    """

    source: str = Field(pattern=r"\S")
    setting: str = Field(pattern=r"\S")  # network, data and whatever else the figures belong to
    arm: Word
    against: str | None = Field(None, pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)?$")
    measure: Literal["error", "training_cost", "passes", "crops"] = "error"
    effect: Literal["lower", "higher", "not_lower"]
    figures: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)] | None = None
    passes: Annotated[tuple[Annotated[int, Field(ge=1, le=20)], ...], Field(min_length=2, max_length=2)] = (
        1,
        12,
    )  # predictions have 20
    datasets: tuple[Word, ...] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _figures_show_the_effect(self) -> Self:
        before, after = self.figures or (0.0, 0.0)
        shown = {"lower": after < before, "higher": after > before, "not_lower": after >= before}
        if self.figures and not shown[self.effect]:
            raise ValueError("an effect that its figures show: lower, higher or not_lower in the second than in the first")
        return self

    @model_validator(mode="after")
    def _more_passes_come_second(self) -> Self:
        if self.passes[0] >= self.passes[1]:
            raise ValueError("passes: few, then more of them")
        return self


class Hardware(Settings):
    """What one run is trained on, in Lightning's words; noted in its record, since other hardware gives other bits."""

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"  # auto: a GPU where there is one
    devices: int = Field(1, ge=1)  # more than 1: each takes its share of every batch
    strategy: str = Field("auto", min_length=1)  # how several devices work together


class Execution(Hardware):
    """Where runs are trained; changes no setting of a run, so DVC does not track it."""

    def hardware(self) -> dict[str, Any]:
        """What a run is trained on, as plain values."""
        return self.model_dump(include=set(Hardware.model_fields))

    runs_per_gpu: int = Field(4, ge=1)  # at a time
    workers: int | None = Field(None, ge=1)  # null: one per processor
    time_limit: float | None = Field(None, gt=0)  # seconds a run may take
    memory_limit: int | None = Field(None, ge=1)  # megabytes a worker may hold
    keep_going: bool = False  # report with what there is when runs have failed
    executor: Literal["processes", "cluster"] = "processes"
    address: str = "auto"  # of the cluster's head

    @field_validator("address")
    @classmethod
    def _address_is_a_place(cls, address: str) -> str:
        if not re.fullmatch(r"auto|[^\s/:]+:[0-9]{1,5}", address):
            raise ValueError("auto, or the host:port of the cluster's head")
        return address


class Tracking(Settings):
    """How results are mirrored; changes no number, so DVC does not track it."""

    wandb: Literal["offline", "online", "disabled"] = "offline"
    project: str = "gapwise"
    entity: str | None = None
    live: bool = False  # curves while runs train, too


class Parameters(Settings):
    """`params.yaml`: what to reproduce, and overrides of the protocol (null: the protocol's value)."""

    protocols: tuple[Word, ...] = Field(min_length=1)
    studies: Literal["all"] | tuple[Word, ...] | None = None
    source: dict[str, Any] = {}
    data: dict[str, Any] = {}
    model: dict[str, Any] = {}
    training: dict[str, Any] = {}
    seeds: dict[str, Any] = {}
    margin: float | None = None
    optimal_error: float | None = None
    execution: Execution = Execution()
    tracking: Tracking = Tracking()


WORDS = {
    "tuple_type": "a list, as in [one, other]",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "string_pattern_mismatch": "a name of small letters, digits and _",
}


def checked(model: type[Model], value: Any, source: Path | str, where: str = "") -> Model:
    """`value` as a `model`, or a Refusal with one line per error: file, key, value, what is allowed."""
    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise Refusal(*dict.fromkeys(_lines(model, error, source, where))) from None


def _lines(model: type[BaseModel], error: ValidationError, source: Path | str, where: str) -> Iterator[str]:
    for item in error.errors(include_url=False):
        if item["type"] == "default_factory_not_called":  # the error of the field that it looks at is enough
            continue
        places = [str(part) for part in item["loc"] if "[" not in str(part)]  # without the branches of a union
        path = ".".join([where] * bool(where) + places)
        if item["type"] == "extra_forbidden":
            keys = ", ".join(_owner(model, item["loc"]).model_fields)
            yield f"{source}: {path}: unknown key; allowed are: {keys or 'none'}"
        elif item["type"] == "missing":
            yield f"{source}: {path}: missing"
        else:
            rule = WORDS.get(item["type"]) or item["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            yield f"{source}: {path}: {json.dumps(item['input'])} is refused; allowed is {_range(model, item['loc']) or rule}"


def _owner(model: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that holds the key at the end of `place`."""
    for part in place[:-1]:
        written = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        for inner in (written, *get_args(written)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return model


def _range(model: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """Every bound of a number's field at once, so that one reading of the error is enough."""
    field = _owner(model, place).model_fields.get(str(place[-1])) if place else None
    signs = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    bounds = [
        f"{sign} {getattr(rule, name):g}"
        for rule in (field.metadata if field else ())
        for name, sign in signs.items()
        if hasattr(rule, name)
    ]
    kind = "a whole number" if field and field.annotation is int else "a number"
    return f"{kind}, {' and '.join(bounds)}" if bounds else ""
