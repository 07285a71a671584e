"""Complete the model settings of a protocol and apply the protocol changes of an arm."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipeline import models
from pipeline.config.settings import Settings
from pipeline.config.validation import checked
from pipeline.planning.protocols import Protocol, network_of, unknown, with_source
from pipeline.regularizers._regularizer import Regularizer
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
        raise Refusal(
            f"{source}: training.batch_size: {training.batch_size} is refused; "
            f"allowed is at most data.train_size, {data.train_size}"
        )
    updates = training.epochs * (data.train_size // training.batch_size)
    if training.snapshots > updates:
        raise Refusal(
            f"{source}: training.snapshots: {training.snapshots} is refused; "
            f"allowed is at most the number of updates, {updates}"
        )
    given = {**protocol.model, "name": network_of(protocol.model)}
    settings = named(given, models.settings(), source, "model")
    model = {"name": given["name"], **settings.model_dump(mode="json", by_alias=True)}
    return protocol.model_copy(update={"model": model})


def overridden(protocol: Protocol, overrides: dict[str, Any], source: str) -> Protocol:
    """Return the protocol with the values of an arm in place of its own.

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
                f"{source}: protocol.{key}: allowed are keys of data, model and training, "
                "as in model.batch_norm"
            )
        if key in FIXED:
            raise Refusal(
                f"{source}: protocol.{key}: all arms share the prepared data; "
                "allowed is another protocol"
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
    if not isinstance(name, str) or name not in classes:
        hint = _suggestion(str(name), classes)
        raise Refusal(unknown(source, f"{where}.name", name, classes) + hint)
    values = {key: value for key, value in given.items() if key != "name"}
    return checked(classes[name], values, source, where)


def _suggestion(name: str, classes: Mapping[str, type[Settings]]) -> str:
    """Return a hint where a name is misspelt, or is that of a method in another library."""
    elsewhere = [
        candidate
        for candidate, kind in classes.items()
        if issubclass(kind, Regularizer) and name.lower() in kind.also_called
    ]
    near = elsewhere or difflib.get_close_matches(name.lower(), classes, n=1)
    return f"; meant is perhaps {near[0]}" if near else ""
