"""The protocol: what every run of a report shares, with the overrides of `params.yaml` applied."""

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline.config.parameters import PARAMETERS, Parameters, read_parameters
from pipeline.config.run import Data, Training
from pipeline.config.schema import Seeds
from pipeline.config.settings import Settings, Word
from pipeline.config.validation import checked, invalid, unknown_name
from pipeline.config.yaml_files import read_yaml
from pipeline.data import sources
from pipeline.runtime.errors import Refusal

EXPERIMENTS = Path("experiments")
PROTOCOLS = EXPERIMENTS / "protocols"
SECTIONS = ("source", "data", "model", "training", "seeds")
IMPORTED = "imported"
FACTOR = re.compile(r"x[0-9]+(\.[0-9]+|/[1-9][0-9]*)?")  # x3, x0.5 or x1/3: times the protocol's


class Protocol(Settings):
    """What every run of a report shares.

    Attributes:
        source: where the data come from; a run depends on their content alone.
        optimal_error: error of the best possible model, a fraction; for the diagnosis.
        seconds_per_run: for `plan` alone, until runs have been timed.
    """

    name: Word
    data: Data
    source: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any]
    training: Training
    seeds: Seeds = Seeds()
    margin: float = Field(0.01, gt=0, lt=1)
    optimal_error: float = Field(0.0, ge=0, lt=1)
    studies: tuple[Word, ...] = Field(min_length=1)
    seconds_per_run: float = Field(1.0, gt=0)

    def settings(self) -> dict[str, Any]:
        """Return the part that decides a run's weights, as plain values."""
        return {
            "data": self.data.model_dump(),
            "model": self.model,
            "training": self.training.model_dump(),
        }


def read_protocol(name: str, root: Path = Path()) -> Protocol:
    """Return the protocol `name` with overrides, its model settings not yet checked.

    Raises:
        Refusal: with one line per error.
    """
    document, source = document_of(name, read_parameters(root), root)
    return with_source(checked(Protocol, document, source), source)


def document_of(name: str, parameters: Parameters, root: Path) -> tuple[dict[str, Any], str]:
    """Return the document of a protocol with overrides, and how errors name where it comes from.

    Raises:
        Refusal: there is no such protocol, or its file is malformed.
    """
    existing = sorted(file.stem for file in (root / PROTOCOLS).glob("*.yaml"))
    if name not in existing:
        raise Refusal(unknown_name(f"{PARAMETERS}: protocols", name, existing))
    path = PROTOCOLS / f"{name}.yaml"
    document = read_yaml(root / path)
    if "name" in document:
        raise Refusal(f"{path}: name: unknown key; expected none: the file gives the name")
    document = {"name": name, **document}
    changed = []
    for section in SECTIONS:
        overrides = {
            key: value for key, value in getattr(parameters, section).items() if value is not None
        }
        if overrides:
            document[section] = _overridden(section, document.get(section) or {}, overrides)
            changed += [f"{section}.{key}" for key in overrides]
    for key in ("margin", "optimal_error"):
        if (value := getattr(parameters, key)) is not None:
            document[key] = value
            changed.append(key)
    return document, f"{path} with {PARAMETERS} ({', '.join(changed)})" if changed else str(path)


def with_source(protocol: Protocol, source: Path | str) -> Protocol:
    """Return the protocol with complete `source` settings. Raises Refusal."""
    datasets = sources.settings()
    dataset = protocol.data.dataset
    if dataset not in datasets:
        raise Refusal(unknown_name(f"{source}: data.dataset", dataset, datasets))
    settings = checked(datasets[dataset], protocol.source, source, "source")
    return protocol.model_copy(update={"source": settings.model_dump(mode="json")})


def network_of(model: Mapping[str, Any]) -> Any:
    """Return the name of a network: `imported` for the user's own, which has none."""
    return model.get("name", IMPORTED if "import" in model else None)


def multiplied(overrides: dict[str, Any], protocol: Protocol, source: str) -> dict[str, Any]:
    """Return the overrides with each factor, such as x3 or x1/3, replaced by its product.

    Raises:
        Refusal: the protocol's value is not a number.
    """
    values = dict(overrides)
    for key, value in overrides.items():
        if isinstance(value, str) and FACTOR.fullmatch(value):
            base = value_of(protocol, key)
            if isinstance(base, bool) or not isinstance(base, int | float):
                where = f"{source}: protocol.{key}"
                raise Refusal(invalid(where, value, "a value, since only numbers have factors"))
            product = Fraction(value[1:]) * Fraction(str(base))
            whole = isinstance(base, int) and product.denominator == 1
            values[key] = int(product) if whole else float(f"{float(product):.6g}")
    return values


def value_of(protocol: Protocol, key: str) -> Any:
    """Return the protocol's value of a dotted key, None where it has none."""
    section, _, field = key.partition(".")
    return (
        protocol.model_dump(mode="json").get(section, {}).get(field)
        if section in SECTIONS
        else None
    )


def _overridden(section: str, written: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Return a section with overrides; another model keeps none of the protocol's settings."""
    network = network_of(written)
    if section == "model" and (network_of(overrides) or network) != network:
        return overrides
    return {**written, **overrides}
