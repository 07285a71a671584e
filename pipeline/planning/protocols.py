"""Read a protocol, the settings of all runs of a report; apply overrides of `params.yaml`."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, final

from pydantic import Field

from pipeline.config.parameters import (
    PARAMETERS,
    PROTOCOLS,
    SECTIONS,
    WHOLE,
    Parameters,
    read_parameters,
)
from pipeline.config.run import Data, Training
from pipeline.config.schema import Seeds
from pipeline.config.settings import Settings, Word
from pipeline.config.validation import (
    Inner,
    Origin,
    Source,
    checked,
    invalid,
    place_of,
    unknown_name,
)
from pipeline.config.yaml_files import read_yaml, yaml_names
from pipeline.data import sources
from pipeline.runtime.errors import Refusal

IMPORTED = "imported"
LEAST_CLASSES = 2


class Pretraining(Settings):
    """One pretraining of a protocol: a training of the same network on other examples.

    Attributes:
        data: The data of the pretraining. Dataset and test fraction are those of the protocol
            unless they are given.
        source: Where the data come from, if the dataset is not that of the protocol.
        training: Settings of training that differ from those of the protocol.
        start: The pretraining that this one starts from, as in a protocol.
        regularizers: The regularizers of the pretraining.
        share: The share of the development examples that is set apart for the pretraining, if both
            have classes in common. The protocol never uses these examples.
    """

    data: dict[str, Any]
    source: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    start: dict[str, Any] = Field(default_factory=dict)
    regularizers: tuple[dict[str, Any], ...] = ()
    share: float | None = Field(None, gt=0, lt=1)


class Protocol(Settings):
    """What all runs of a report share.

    Attributes:
        name: The name of its file, without the suffix.
        data: The dataset and its split.
        source: Where the data come from; a run depends on their content alone.
        model: The name and the settings of the network.
        training: The settings of training.
        pretraining: Pretrainings by name: networks from whose weights runs can start.
        start: The weights from which runs start, and which of them are trained; empty for random
            weights.
        tune: Values that are tuned on the baseline before arms are compared with it, such as the
            learning rate: a search space for each dotted key.
        seeds: The number of seeds of each phase.
        margin: The largest difference in accuracy (fraction) that counts as equivalent.
        optimal_error: The error (fraction) of the best possible model, for the diagnosis.
        studies: The names of the studies to reproduce.
        seconds_per_run: The time that `plan` assumes until runs have been timed.
    """

    name: Word
    data: Data
    source: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any]
    training: Training
    pretraining: dict[Word, dict[str, Any]] = Field(default_factory=dict)
    start: dict[str, Any] = Field(default_factory=dict)
    tune: dict[str, Any] = Field(default_factory=dict)
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

    def network_settings(self) -> dict[str, Any]:
        """Return the part that decides which networks fit its images, as plain values."""
        return self.settings() | {"name": self.name, "source": self.source, "start": self.start}


@final
@dataclass(frozen=True)
class ProtocolFiles(Origin):
    """The files that the values of a protocol come from.

    Attributes:
        path: The file of the protocol.
        overridden: The dotted keys whose values come from `params.yaml`.
    """

    path: Path
    overridden: frozenset[str] = frozenset()

    def file_of(self, key: str) -> Path:
        """Return the file that gives a value.

        Args:
            key: The dotted key of the value.
        """
        return PARAMETERS if is_replaced(key, self.overridden) else self.path

    def place(self, key: str) -> str:
        """Return the file of a value and its key.

        Args:
            key: The dotted key of the value; "" for all values.
        """
        return f"{self.file_of(key)}: {key}" if key else str(self.path)


def read_protocol(name: str, root: Path = Path()) -> tuple[Protocol, ProtocolFiles]:
    """Return a protocol with overrides, and the files of its values for errors.

    Its model settings are not yet checked.

    Args:
        name: The name of its file, without the suffix.
        root: The folder of the project.

    Raises:
        Refusal: A value is invalid; the error has a line for each.
    """
    document, source = document_of(name, read_parameters(root), root)
    return with_source(checked_protocol(document, source), source), source


def checked_protocol(document: Mapping[str, Any], source: Source) -> Protocol:
    """Return the protocol of these values; its model settings are not yet checked.

    Args:
        document: The values, overrides applied.
        source: Their file, for errors.

    Raises:
        Refusal: A value is invalid; the error has a line for each.
    """
    _require_counts(document.get("data"), Inner(source, "data"))
    return checked(Protocol, document, source)


def require_dataset(data: Any, source: Source) -> None:
    """Check that the dataset of a section exists, which may have other mistakes.

    Args:
        data: The section `data` as written.
        source: Where it comes from, for errors.

    Raises:
        Refusal: It does not exist.
    """
    dataset = data.get("dataset") if isinstance(data, Mapping) else None
    datasets = sources.settings()
    if isinstance(dataset, str) and dataset not in datasets:
        raise Refusal(unknown_name(place_of(source, "data.dataset"), dataset, datasets))


def require_one_size(data: Any, source: Source) -> None:
    """Check that the number of training examples is not given in two ways, where both are written.

    Args:
        data: The section `data` as written.
        source: Where it comes from, for errors.

    Raises:
        Refusal: It is, and the two differ.
    """
    if not isinstance(data, Mapping) or data.get("per_class") is None or "train_size" not in data:
        return
    size, number, count = data["train_size"], data["per_class"], len(data["classes"])
    if size != number * count:
        expected = f"none beside data.per_class, which makes it {number * count} ({count} classes)"
        raise Refusal(invalid(place_of(source, "train_size"), size, expected))


def _require_counts(data: Any, source: Source) -> None:
    """Check the classes that are kept, and `per_class`, which counts the examples of each.

    Raises:
        Refusal: There are fewer than two classes, one of them is there twice, or there are none
            beside per_class, or that is no number.
    """
    if not isinstance(data, Mapping):
        return
    classes, number = data.get("classes"), data.get("per_class")
    if number is not None and not (isinstance(number, int) and number >= 1):
        raise Refusal(invalid(place_of(source, "per_class"), number, "an integer >= 1 or null"))
    if classes is None and number is not None:
        expected = "a list of classes beside per_class, as in [0, 1, 2]"
        raise Refusal(f"{place_of(source, 'classes')}: missing; expected {expected}")
    if not isinstance(classes, list | tuple):
        return
    where = place_of(source, "classes")
    if len(classes) < LEAST_CLASSES:
        raise Refusal(invalid(where, classes, f"a list of length >= {LEAST_CLASSES}"))
    if len(set(map(json.dumps, classes))) < len(classes):
        raise Refusal(invalid(where, classes, "distinct classes"))


def document_of(
    name: str, parameters: Parameters, root: Path
) -> tuple[dict[str, Any], ProtocolFiles]:
    """Return the values of a protocol with overrides, and their files for errors.

    Args:
        name: The name of its file, without the suffix.
        parameters: The overrides.
        root: The folder of the project.

    Raises:
        Refusal: There is no such protocol, or its file is malformed.
    """
    existing = yaml_names(root / PROTOCOLS)
    if name not in existing:
        where = f"{PARAMETERS}: protocols" if name in parameters.protocols else "protocol"
        raise Refusal(unknown_name(where, name, existing))
    return with_overrides(name, read_yaml(root / PROTOCOLS / f"{name}.yaml"), parameters)


def files_of(name: str, parameters: Parameters) -> ProtocolFiles:
    """Return the files of the values of a protocol.

    Args:
        name: The name of its file, without the suffix.
        parameters: The overrides.
    """
    return ProtocolFiles(PROTOCOLS / f"{name}.yaml", frozenset(parameters.overrides()))


def with_overrides(
    name: str, document: dict[str, Any], parameters: Parameters
) -> tuple[dict[str, Any], ProtocolFiles]:
    """Return the values of a protocol with overrides, and their files for errors.

    Args:
        name: The name of the protocol.
        document: What its file holds.
        parameters: The overrides.

    Raises:
        Refusal: The document has the key `name`.
    """
    files = files_of(name, parameters)
    if "name" in document:
        raise Refusal(f"{files.path}: name: unknown key; the name is that of the file")
    document = {"name": name, **document}
    changed = parameters.overrides()
    if _has_other_network(document.get("model") or {}, parameters.model):
        files = ProtocolFiles(files.path, files.overridden | {"model"})
    for section in SECTIONS:
        overrides = {
            key: value for key, value in getattr(parameters, section).items() if value is not None
        }
        if overrides:
            document[section] = _overridden(section, document.get(section) or {}, overrides)
    tune = document.get("tune")
    if isinstance(tune, dict):  # a value that is given is not searched
        document["tune"] = {
            key: space for key, space in tune.items() if not is_replaced(key, changed)
        }
    document |= {key: value for key, value in changed.items() if key in WHOLE}
    return document, files


def with_source(protocol: Protocol, source: Source) -> Protocol:
    """Return the protocol with complete `source` settings, also of its pretrainings.

    Args:
        protocol: The protocol.
        source: Its files, for errors.

    Raises:
        Refusal: The dataset does not exist, or a setting of its source is invalid.
    """
    require_dataset(protocol.data.model_dump(), source)
    settings = _complete_source(protocol.data.dataset, protocol.source, source, "source")
    complete = protocol.model_copy(update={"source": settings.model_dump(mode="json")})
    pretraining = {name: _with_data(complete, name, source) for name in protocol.pretraining}
    return complete.model_copy(update={"pretraining": pretraining})


def _complete_source(
    dataset: str, values: Mapping[str, Any], source: Source, where: str
) -> Settings:
    """Return the complete settings of the source of a dataset.

    Raises:
        Refusal: A setting is invalid, or the dataset has none.
    """
    kind = sources.settings()[dataset]
    if values and not kind.model_fields:
        problem = f"unknown key; the dataset {dataset} has no source settings"
        raise Refusal(*(f"{place_of(source, f'{where}.{key}')}: {problem}" for key in values))
    return checked(kind, values, source, where)


def _with_data(protocol: Protocol, name: str, source: Source) -> dict[str, Any]:
    """Return a pretraining with complete data and source.

    It has the dataset and the test fraction of the protocol unless it gives others.

    Raises:
        Refusal: The dataset does not exist, a value is invalid, or the files of the protocol are
            read in another way.
    """
    where = f"pretraining.{name}"
    pretraining = checked(Pretraining, protocol.pretraining[name], source, where)
    _require_counts(pretraining.data, Inner(source, f"{where}.data"))
    require_one_size(pretraining.data, Inner(source, f"{where}.data"))
    defaults = {"dataset": protocol.data.dataset, "test_fraction": protocol.data.test_fraction}
    data = checked(Data, {**defaults, **pretraining.data}, source, f"{where}.data")
    require_dataset(data.model_dump(), Inner(source, where))
    is_same = data.dataset == protocol.data.dataset
    values = {**protocol.source, **pretraining.source} if is_same else pretraining.source
    complete = _complete_source(data.dataset, values, source, f"{where}.source")
    if is_same:
        _require_one_reading(protocol, name, pretraining, complete.model_dump(mode="json"), source)
    return pretraining.model_dump(mode="json") | {
        "data": data.model_dump(mode="json"),
        "source": complete.model_dump(mode="json"),
    }


def _require_one_reading(
    protocol: Protocol,
    name: str,
    pretraining: Pretraining,
    complete: Mapping[str, Any],
    source: Source,
) -> None:
    """Check that a pretraining on the files of the protocol reads and holds out as it does.

    Only then is it known which of its examples are test examples of the protocol.

    Raises:
        Refusal: It reads them with other settings, or gives a test fraction of its own.
    """
    where = place_of(source, f"pretraining.{name}")
    places = [Path(str(each.get("path") or "")).resolve() for each in (complete, protocol.source)]
    if places[0] != places[1]:
        return
    if dict(complete) != protocol.source:
        expected = "the source of the protocol, as it is: these are its files"
        raise Refusal(invalid(f"{where}.source", pretraining.source, expected))
    fraction = protocol.data.test_fraction
    if (other := pretraining.data.get("test_fraction", fraction)) != fraction:
        expected = f"{fraction}: the test set of the protocol is held out"
        raise Refusal(invalid(f"{where}.data.test_fraction", other, expected))


def network_of(model: Mapping[str, Any]) -> Any:
    """Return the name of a network, `imported` for one from the user's own module.

    Args:
        model: The section `model` of a protocol; it has `name` or `import`.
    """
    return model.get("name", IMPORTED if "import" in model else None)


def apply_factors(overrides: dict[str, Any], protocol: Protocol, source: Source) -> dict[str, Any]:
    """Return the overrides with each factor, such as x3 or x1/3, replaced by its product.

    Args:
        overrides: Values by dotted key, such as training.learning_rate.
        protocol: The protocol whose values are multiplied.
        source: Where the overrides come from, for errors.

    Returns:
        All overrides; the product with an integer is an integer where it is whole.

    Raises:
        Refusal: The protocol's value is not a number.
    """
    values = dict(overrides)
    for key, value in overrides.items():
        factor = factor_of(value)
        if factor is not None:
            base = value_of(protocol, key)
            if isinstance(base, bool) or not isinstance(base, int | float):
                expected = "a value, since only numbers have factors"
                raise Refusal(invalid(place_of(source, key), value, expected))
            product = factor * Fraction(str(base))
            whole = isinstance(base, int) and product.denominator == 1
            values[key] = int(product) if whole else float(f"{float(product):.6g}")
    return values


def factor_of(value: Any) -> Fraction | None:
    """Return the factor that x3, x0.5 or x1/3 stands for; None for any other value.

    Args:
        value: The value of a key of the protocol, as written.
    """
    if not isinstance(value, str) or not value.startswith("x"):
        return None
    try:
        factor = Fraction(value.removeprefix("x"))
    except (ValueError, ZeroDivisionError):
        return None
    return factor if factor >= 0 else None


def value_of(protocol: Protocol, key: str) -> Any:
    """Return the protocol's value of a dotted key, None where it has none.

    Args:
        protocol: The protocol.
        key: The key, such as model.batch_norm or training.optimizer.momentum.
    """
    section, *names = key.split(".")
    if section not in SECTIONS or not names:
        return None
    return value_in(protocol.model_dump(mode="json"), key)


def value_in(document: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key, None where there is none.

    Args:
        document: Values in nested mappings.
        key: The key, such as training.optimizer.momentum.
    """
    value: Any = document
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def is_replaced(key: str, changed: Collection[str]) -> bool:
    """Return whether a dotted key, or a mapping that holds it, is among the changed ones.

    Args:
        key: The key, such as training.optimizer.momentum.
        changed: Dotted keys, such as training.optimizer.
    """
    return any(key == other or key.startswith(f"{other}.") for other in changed)


def _overridden(section: str, written: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Return a section with overrides; another model keeps none of the protocol's settings."""
    if section == "model" and _has_other_network(written, overrides):
        return overrides
    return {**written, **overrides}


def _has_other_network(written: Mapping[str, Any], overrides: Mapping[str, Any]) -> bool:
    """Return whether overrides of `model` name another network than the protocol."""
    network = network_of(written)
    given = {key: value for key, value in overrides.items() if value is not None}
    return bool((network_of(given) or network) != network)
