"""Complete the model settings of a protocol and apply the protocol changes of an arm."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipeline import models
from pipeline.config.settings import Settings
from pipeline.config.validation import checked, errors_in, invalid, one_of, unknown_name
from pipeline.planning.protocols import Protocol, network_of, with_source
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.behaviour import require_visible
from pipeline.runtime.errors import Refusal

FIXED = ("data.dataset", "data.test_fraction")  # all arms share the prepared data
Named = TypeVar("Named", bound=Settings)


def resolved(document: dict[str, Any], source: Path | str) -> Protocol:
    """Return a checked protocol whose model settings are complete.

    Args:
        document: The plain values of the protocol.
        source: Their file, for error messages.

    Raises:
        Refusal: A value is invalid, or two values do not fit together.
    """
    protocol = with_source(checked(Protocol, document, source), source)
    data, training = protocol.data, protocol.training
    if training.batch_size > data.train_size:
        expected = f"an integer <= {data.train_size} (data.train_size)"
        raise Refusal(invalid(f"{source}: training.batch_size", training.batch_size, expected))
    updates = training.epochs * (data.train_size // training.batch_size)
    if training.snapshots > updates:
        expected = f"an integer <= {updates} (the number of updates)"
        raise Refusal(invalid(f"{source}: training.snapshots", training.snapshots, expected))
    given = {**protocol.model, "name": network_of(protocol.model)}
    if "import" in given:
        with errors_in(source):
            require_visible(str(given["import"]).partition(":")[0])
    settings = named(given, models.settings(), source, "model")
    model = {"name": given["name"], **settings.model_dump(mode="json", by_alias=True)}
    return protocol.model_copy(update={"model": model})


def overridden(protocol: Protocol, overrides: dict[str, Any], source: str) -> Protocol:
    """Return the protocol with the values of an arm in place of the protocol's.

    Args:
        protocol: The protocol of the study.
        overrides: The values by dotted key, such as model.batch_norm.
        source: Their place, for error messages.

    Raises:
        Refusal: An arm cannot change a key, or a value is invalid.
    """
    document = protocol.model_dump(mode="json")
    for key, value in overrides.items():
        section, _, field = key.partition(".")
        if section not in ("data", "model", "training") or not field:
            raise Refusal(
                f"{source}: protocol.{key}: unknown key; "
                "expected a key of data, model or training, as in model.batch_norm"
            )
        if key in FIXED:
            raise Refusal(
                f"{source}: protocol.{key}: the same for all arms, which share the prepared data; "
                "expected another protocol"
            )
        document[section][field] = value
    return resolved(document, source)


def named(
    given: dict[str, Any], classes: Mapping[str, type[Named]], source: Path | str, where: str
) -> Named:
    """Return the checked settings of the class that `given["name"]` names.

    Args:
        given: The name and the settings, as plain values.
        classes: The classes of settings by name.
        source: The file of the values, for error messages.
        where: The key of the values in that file, for error messages.

    Raises:
        Refusal: There is no such class, or a setting is invalid.
    """
    name = given.get("name")
    if name is None:
        raise Refusal(f"{source}: {where}.name: missing; expected {one_of(sorted(classes))}")
    if not isinstance(name, str):
        raise Refusal(invalid(f"{source}: {where}.name", name, one_of(sorted(classes))))
    if name not in classes:
        raise Refusal(unknown_name(f"{source}: {where}.name", name, classes, _synonyms(classes)))
    values = {key: value for key, value in given.items() if key != "name"}
    return checked(classes[name], values, source, where)


def _synonyms(classes: Mapping[str, type[Settings]]) -> dict[str, str]:
    """Return the names of regularizers in other libraries, with those they have here."""
    return {
        other: name
        for name, kind in classes.items()
        if issubclass(kind, Regularizer)
        for other in kind.also_called
    }
