"""The protocol: what every run of a report shares, with the overrides of `params.yaml` and of an arm applied."""

import json
import re
from collections.abc import Collection, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline.config.parameters import PARAMETERS, Parameters, read_parameters
from pipeline.config.run import Data, Training
from pipeline.config.schema import Seeds
from pipeline.config.settings import Settings, Word
from pipeline.config.validation import checked
from pipeline.config.yaml_files import read_yaml
from pipeline.data import sources
from pipeline.runtime.errors import Refusal

EXPERIMENTS = Path("experiments")
PROTOCOLS = EXPERIMENTS / "protocols"
FIXED = ("data.dataset", "data.test_fraction")
SECTIONS = ("source", "data", "model", "training", "seeds")
IMPORTED = "imported"
TIMES = re.compile(r"x[0-9]+(\.[0-9]+|/[1-9][0-9]*)?")  # times the protocol's value


class Protocol(Settings):
    """What every run of a report shares."""

    name: Word
    data: Data
    source: dict[str, Any] = Field(
        default_factory=dict
    )  # where the data come from; changes no run but by their content
    model: dict[str, Any]
    training: Training
    seeds: Seeds = Seeds()
    margin: float = Field(0.01, gt=0, lt=1)
    optimal_error: float = Field(
        0.0, ge=0, lt=1
    )  # the best any model could do, a fraction; for the diagnosis
    studies: tuple[Word, ...] = Field(min_length=1)
    seconds_per_run: float = Field(1.0, gt=0)  # for `plan` alone, until runs have been timed

    def settings(self) -> dict[str, Any]:
        """The part that decides a run's weights, as plain values."""
        return {
            "data": self.data.model_dump(),
            "model": self.model,
            "training": self.training.model_dump(),
        }


def read_protocol(name: str, root: Path = Path()) -> Protocol:
    """The protocol `name`, `params.yaml` applied, its model not yet looked up. Raises Refusal."""
    document, source = document_of(name, read_parameters(root), root)
    return sourced(checked(Protocol, document, source), source)


def sourced(protocol: Protocol, source: Path | str) -> Protocol:
    """The protocol once its dataset is there and takes what is said of where it comes from. Raises Refusal."""
    datasets = sources.settings()
    if protocol.data.dataset not in datasets:
        raise Refusal(unknown(source, "data.dataset", protocol.data.dataset, datasets))
    told = checked(datasets[protocol.data.dataset], protocol.source, source, "source")
    return protocol.model_copy(update={"source": told.model_dump(mode="json")})


def document_of(name: str, parameters: Parameters, root: Path) -> tuple[dict[str, Any], str]:
    """The protocol's document with the overrides in it, and how an error should name its source. Raises Refusal."""
    path = PROTOCOLS / f"{name}.yaml"
    known = sorted(file.stem for file in (root / PROTOCOLS).glob("*.yaml"))
    if name not in known:
        raise Refusal(
            f"{PARAMETERS}: protocols: {name!r} does not exist; allowed are: {', '.join(known) or 'none yet'}"
        )
    document = read_yaml(root / path)
    if "name" in document:
        raise Refusal(f"{path}: name: unknown key; a protocol is named by its file")
    document = {"name": name, **document}
    overridden = []
    for section in SECTIONS:
        given = {
            key: value for key, value in getattr(parameters, section).items() if value is not None
        }
        overridden += [f"{section}.{key}" for key in given]
        if given:
            own = document.get(section) or {}
            other = section == "model" and (network_of(given) or network_of(own)) != network_of(own)
            document[section] = (
                given if other else {**own, **given}
            )  # another model has settings of its own
    for key in ("margin", "optimal_error"):
        if (value := getattr(parameters, key)) is not None:
            document[key] = value
            overridden.append(key)
    return document, f"{path} with {PARAMETERS} ({', '.join(overridden)})" if overridden else str(
        path
    )


def network_of(model: Mapping[str, Any]) -> Any:
    """The name of a network: `imported` for one of the user's own, which is named by where it is."""
    return model.get("name", IMPORTED if "import" in model else None)


def multiplied(overrides: dict[str, Any], protocol: Protocol, source: str) -> dict[str, Any]:
    """The overrides with every factor, such as x3 or x1/3, in place of the protocol's value times that."""
    found = dict(overrides)
    for key, value in overrides.items():
        if isinstance(value, str) and TIMES.fullmatch(value):
            own = value_of(protocol, key)
            if isinstance(own, bool) or not isinstance(own, int | float):
                raise Refusal(
                    f"{source}: protocol.{key}: {value!r} is refused; allowed are factors of numbers alone"
                )
            number = Fraction(value[1:]) * Fraction(str(own))
            found[key] = (
                int(number)
                if isinstance(own, int) and number.denominator == 1
                else float(f"{float(number):.6g}")
            )
    return found


def value_of(protocol: Protocol, key: str) -> Any:
    """What a protocol says of a dotted key; None where it says nothing."""
    section, _, field = key.partition(".")
    return (
        json.loads(protocol.model_dump_json()).get(section, {}).get(field)
        if section in SECTIONS
        else None
    )


def unknown(source: Path | str, where: str, name: Any, known: Collection[str]) -> str:
    """The line for a name that does not exist: where it stands, and which do."""
    return f"{source}: {where}: {name!r} does not exist; allowed are: {', '.join(sorted(known))}"
