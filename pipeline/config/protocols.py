"""The protocol: what every run of a report shares, with the overrides of `params.yaml` and of an arm applied.

Separate from `studies.py`, which asks questions under a protocol. The catalogue of what can be named is handed in,
because regularizers, models and data stand below this layer.
"""

import difflib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline.config.documents import read_yaml
from pipeline.config.errors import Refusal
from pipeline.config.schema import Data, Parameters, Seeds, Settings, Training, Word, checked

EXPERIMENTS = Path("experiments")
PROTOCOLS = EXPERIMENTS / "protocols"
PARAMETERS = Path("params.yaml")
FIXED = ("data.dataset", "data.test_fraction")
SECTIONS = ("source", "data", "model", "training", "seeds")
IMPORTED = "imported"
TIMES = re.compile(r"x[0-9]+(\.[0-9]+|/[1-9][0-9]*)?")  # times the protocol's value


@dataclass(frozen=True)
class Catalogue:
    """What a settings file can name. Each maps a name to the model of its settings."""

    regularizers: Mapping[str, type[Settings]]
    models: Mapping[str, type[Settings]]
    datasets: Mapping[str, type[Settings]]
    rule: Callable[[tuple[Any, ...]], str]  # the test rule of an arm's regularizers
    effect: Callable[
        [tuple[Any, ...], dict[str, Any]], tuple[Any, Callable[[], str]]
    ]  # what they come to under a protocol; how to differ


class Protocol(Settings):
    """What every run of a report shares."""

    name: Word
    data: Data
    source: dict[str, Any] = Field(default_factory=dict)  # where the data come from; changes no run but by their content
    model: dict[str, Any]
    training: Training
    seeds: Seeds = Seeds()
    margin: float = Field(0.01, gt=0, lt=1)
    optimal_error: float = Field(0.0, ge=0, lt=1)  # the best any model could do, a fraction; for the diagnosis
    studies: tuple[Word, ...] = Field(min_length=1)
    seconds_per_run: float = Field(1.0, gt=0)  # for `plan` alone, until runs have been timed

    def settings(self) -> dict[str, Any]:
        """The part that decides a run's weights, as plain values."""
        return {"data": self.data.model_dump(), "model": self.model, "training": self.training.model_dump()}


def read_parameters(root: Path = Path()) -> Parameters:
    """`params.yaml` under `root`. Raises Refusal."""
    return checked(Parameters, read_yaml(root / PARAMETERS), PARAMETERS)


def read_protocol(name: str, datasets: Mapping[str, type[Settings]], root: Path = Path()) -> Protocol:
    """The protocol `name`, `params.yaml` applied, its model not yet looked up. Raises Refusal."""
    document, source = document_of(name, read_parameters(root), root)
    return _sourced(checked(Protocol, document, source), datasets, source)


def _sourced(protocol: Protocol, datasets: Mapping[str, type[Settings]], source: Path | str) -> Protocol:
    """The protocol once its dataset is there and takes what is said of where it comes from. Raises Refusal."""
    if protocol.data.dataset not in datasets:
        raise Refusal(unknown(source, "data.dataset", protocol.data.dataset, datasets))
    told = checked(datasets[protocol.data.dataset], protocol.source, source, "source")
    return protocol.model_copy(update={"source": told.model_dump(mode="json")})


def document_of(name: str, parameters: Parameters, root: Path) -> tuple[dict[str, Any], str]:
    """The protocol's document with the overrides in it, and how an error should name its source. Raises Refusal."""
    path = PROTOCOLS / f"{name}.yaml"
    known = sorted(file.stem for file in (root / PROTOCOLS).glob("*.yaml"))
    if name not in known:
        raise Refusal(f"{PARAMETERS}: protocols: {name!r} does not exist; allowed are: {', '.join(known) or 'none yet'}")
    document = read_yaml(root / path)
    if "name" in document:
        raise Refusal(f"{path}: name: unknown key; a protocol is named by its file")
    document = {"name": name, **document}
    overridden = []
    for section in SECTIONS:
        given = {key: value for key, value in getattr(parameters, section).items() if value is not None}
        overridden += [f"{section}.{key}" for key in given]
        if given:
            own = document.get(section) or {}
            other = section == "model" and (network_of(given) or network_of(own)) != network_of(own)
            document[section] = given if other else {**own, **given}  # another model has settings of its own
    for key in ("margin", "optimal_error"):
        if (value := getattr(parameters, key)) is not None:
            document[key] = value
            overridden.append(key)
    return document, f"{path} with {PARAMETERS} ({', '.join(overridden)})" if overridden else str(path)


def resolved(document: dict[str, Any], catalogue: Catalogue, source: Path | str) -> Protocol:
    """A checked protocol whose model settings are complete. Raises Refusal."""
    protocol = _sourced(checked(Protocol, document, source), catalogue.datasets, source)
    if protocol.training.batch_size > protocol.data.train_size:
        size, images = protocol.training.batch_size, protocol.data.train_size
        raise Refusal(f"{source}: training.batch_size: {size} is refused; allowed is at most data.train_size, {images}")
    updates = protocol.training.epochs * (protocol.data.train_size // protocol.training.batch_size)
    if protocol.training.snapshots > updates:
        kept = protocol.training.snapshots
        raise Refusal(f"{source}: training.snapshots: {kept} is refused; allowed is at most the number of updates, {updates}")
    own = {**protocol.model, "name": network_of(protocol.model)}
    model = named(own, catalogue.models, source, "model").model_dump(mode="json", by_alias=True)
    return protocol.model_copy(update={"model": {"name": own["name"], **model}})


def network_of(model: Mapping[str, Any]) -> Any:
    """The name of a network: `imported` for one of the user's own, which is named by where it is."""
    return model.get("name", IMPORTED if "import" in model else None)


def overridden(protocol: Protocol, overrides: dict[str, Any], catalogue: Catalogue, source: str) -> Protocol:
    """The protocol with an arm's dotted keys in place of its own values. Raises Refusal."""
    document = json.loads(protocol.model_dump_json())
    for key, value in overrides.items():
        section, _, field = key.partition(".")
        if section not in ("data", "model", "training") or not field:
            raise Refusal(f"{source}: protocol.{key}: allowed are keys of data, model and training, as in model.batch_norm")
        if key in FIXED:
            raise Refusal(f"{source}: protocol.{key}: all arms share the prepared data; allowed is another protocol")
        document[section][field] = value
    return resolved(document, catalogue, source)


def multiplied(overrides: dict[str, Any], protocol: Protocol, source: str) -> dict[str, Any]:
    """The overrides with every factor, such as x3 or x1/3, in place of the protocol's value times that."""
    found = dict(overrides)
    for key, value in overrides.items():
        if isinstance(value, str) and TIMES.fullmatch(value):
            own = value_of(protocol, key)
            if isinstance(own, bool) or not isinstance(own, int | float):
                raise Refusal(f"{source}: protocol.{key}: {value!r} is refused; allowed are factors of numbers alone")
            number = Fraction(value[1:]) * Fraction(str(own))
            found[key] = int(number) if isinstance(own, int) and number.denominator == 1 else float(f"{float(number):.6g}")
    return found


def value_of(protocol: Protocol, key: str) -> Any:
    """What a protocol says of a dotted key; None where it says nothing."""
    section, _, field = key.partition(".")
    return json.loads(protocol.model_dump_json()).get(section, {}).get(field) if section in SECTIONS else None


def named(given: dict[str, Any], known: Mapping[str, type[Settings]], source: Path | str, where: str) -> Settings:
    """The checked settings of what `given["name"]` names among `known`. Raises Refusal, with a hint where there is one."""
    name = given.get("name")
    if not isinstance(name, str) or name not in known:
        raise Refusal(unknown(source, f"{where}.name", name, known) + _meant(str(name), known))
    return checked(known[name], {key: value for key, value in given.items() if key != "name"}, source, where)


def unknown(source: Path | str, where: str, name: Any, known: Collection[str]) -> str:
    """The line for a name that does not exist: where it stands, and which do."""
    return f"{source}: {where}: {name!r} does not exist; allowed are: {', '.join(sorted(known))}"


def _meant(name: str, known: Mapping[str, type[Settings]]) -> str:
    """What to add where a name is another one's in some library, or a slip of the pen."""
    elsewhere = [own for own, kind in known.items() if name.lower() in getattr(kind, "also_called", ())]
    near = elsewhere or difflib.get_close_matches(name.lower(), known, n=1)
    return f"; meant is perhaps {near[0]}" if near else ""
