"""Read `params.yaml`: what to reproduce, overrides of the protocol, execution and tracking."""

import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from pipeline.config.run import Hardware
from pipeline.config.settings import Settings, Word
from pipeline.config.validation import checked
from pipeline.config.yaml_files import read_yaml
from pipeline.runtime.errors import Refusal

PARAMETERS = Path("params.yaml")
EXPERIMENTS = Path("experiments")  # a file for each study
PROTOCOLS = EXPERIMENTS / "protocols"  # a file for each protocol
SECTIONS = ("source", "data", "model", "training", "start", "seeds")  # replaced value by value
WHOLE = ("tune", "margin", "optimal_error")  # replaced as they are


class Execution(Hardware):
    """Where and how runs are executed; changes no result, so DVC does not track it.

    Attributes:
        runs_per_gpu: Runs at a time on one GPU.
        workers: The number of workers; null for one per processor.
        time_limit: Seconds that a run may take.
        memory_limit: Megabytes that a worker may hold.
        keep_going: Whether the report is written although runs have failed.
        executor: Processes on this machine, or tasks on a Ray cluster.
        address: host:port of the cluster's head; auto for the cluster of this machine.
    """

    runs_per_gpu: int = Field(4, ge=1)
    workers: int | None = Field(None, ge=1)
    time_limit: float | None = Field(None, gt=0)
    memory_limit: int | None = Field(None, ge=1)
    keep_going: bool = False
    executor: Literal["processes", "cluster"] = "processes"
    address: str = "auto"

    def hardware(self) -> dict[str, Any]:
        """Return what a run is trained on, as plain values."""
        return self.model_dump(include=set(Hardware.model_fields))

    @field_validator("address")
    @classmethod
    def _address_is_a_place(cls, address: str) -> str:
        if not re.fullmatch(r"auto|[^\s/:]+:[0-9]{1,5}", address):
            raise ValueError("auto, or host:port of the cluster's head")
        return address


class Tracking(Settings):
    """How results are mirrored; changes no result, so DVC does not track it.

    Attributes:
        wandb: offline: runs are written to `wandb/` only; online: they are also sent; disabled:
            neither.
        project: The project in W&B.
        entity: The team or user in W&B; null: the default of the account.
        live: Whether learning curves are streamed while runs train.
    """

    wandb: Literal["offline", "online", "disabled"] = "offline"
    project: str = "gapwise"
    entity: str | None = None
    live: bool = False


class Parameters(Settings):
    """What to reproduce, and overrides of the protocol (null: the protocol's value).

    `resolve` has the number of confirmation seeds that an arm goes on to although it has stopped:
    protocol -> study -> arm -> seeds.
    """

    protocols: tuple[Word, ...] = Field(min_length=1)
    studies: Literal["all"] | tuple[Word, ...] | None = None
    source: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    start: dict[str, Any] = Field(default_factory=dict)
    seeds: dict[str, Any] = Field(default_factory=dict)
    tune: dict[str, Any] | None = None
    margin: float | None = None
    optimal_error: float | None = None
    resolve: dict[Word, dict[Word, dict[Word, int]]] | None = None
    execution: Execution = Execution()
    tracking: Tracking = Tracking()

    @field_validator("protocols")
    @classmethod
    def _protocols_are_distinct(cls, protocols: tuple[str, ...]) -> tuple[str, ...]:
        if len({*protocols}) < len(protocols):
            raise ValueError("distinct names")
        return protocols

    def overrides(self) -> dict[str, Any]:
        """Return the values that replace those of a protocol, by dotted key."""
        sections = {
            f"{section}.{key}": value
            for section in SECTIONS
            for key, value in getattr(self, section).items()
        }
        values = sections | {key: getattr(self, key) for key in WHOLE}
        return {key: value for key, value in values.items() if value is not None}


def read_parameters(root: Path = Path()) -> Parameters:
    """Return `params.yaml` under `root`.

    Args:
        root: The folder of the project.

    Raises:
        Refusal: There is none, or a value is invalid; the error has a line for each.
    """
    if not (root / PARAMETERS).exists():
        raise Refusal(f"{PARAMETERS}: missing in {root.absolute()}; run in the folder of a project")
    return checked(Parameters, read_yaml(root / PARAMETERS), PARAMETERS)


def read_valid_parameters(root: Path = Path()) -> Parameters | None:
    """Return `params.yaml` without its invalid sections, to find mistakes elsewhere.

    Args:
        root: The folder of the project.

    Returns:
        None if the file cannot be read, or if `protocols` is invalid.
    """
    try:
        document = read_yaml(root / PARAMETERS)
        Parameters.model_validate_json(json.dumps(document))
    except Refusal:
        return None
    except ValidationError as error:
        invalid = {item["loc"][0] for item in error.errors() if item["loc"]}
        document = {key: value for key, value in document.items() if key not in invalid}
    try:
        return checked(Parameters, document, PARAMETERS)
    except Refusal:
        return None
