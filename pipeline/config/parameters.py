"""`params.yaml`: what to reproduce, overrides of the protocol, execution and tracking."""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from pipeline.config.run import Hardware
from pipeline.config.settings import Settings, Word
from pipeline.config.validation import checked
from pipeline.config.yaml_files import read_yaml

PARAMETERS = Path("params.yaml")


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
    source: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    seeds: dict[str, Any] = Field(default_factory=dict)
    margin: float | None = None
    optimal_error: float | None = None
    execution: Execution = Execution()
    tracking: Tracking = Tracking()


def read_parameters(root: Path = Path()) -> Parameters:
    """Return `params.yaml` under `root`. Raises Refusal."""
    return checked(Parameters, read_yaml(root / PARAMETERS), PARAMETERS)
