"""A protocol whose model settings are complete, with the overrides of an arm applied."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipeline import models
from pipeline.config.settings import Settings
from pipeline.config.validation import checked
from pipeline.planning.protocols import FIXED, Protocol, network_of, sourced, unknown
from pipeline.runtime.errors import Refusal

Named = TypeVar("Named", bound=Settings)


def resolved(document: dict[str, Any], source: Path | str) -> Protocol:
    """A checked protocol whose model settings are complete. Raises Refusal."""
    protocol = sourced(checked(Protocol, document, source), source)
    if protocol.training.batch_size > protocol.data.train_size:
        size, images = protocol.training.batch_size, protocol.data.train_size
        raise Refusal(
            f"{source}: training.batch_size: {size} is refused; allowed is at most data.train_size, {images}"
        )
    updates = protocol.training.epochs * (protocol.data.train_size // protocol.training.batch_size)
    if protocol.training.snapshots > updates:
        kept = protocol.training.snapshots
        raise Refusal(
            f"{source}: training.snapshots: {kept} is refused; allowed is at most the number of updates, {updates}"
        )
    own = {**protocol.model, "name": network_of(protocol.model)}
    model = named(own, models.settings(), source, "model").model_dump(mode="json", by_alias=True)
    return protocol.model_copy(update={"model": {"name": own["name"], **model}})


def overridden(protocol: Protocol, overrides: dict[str, Any], source: str) -> Protocol:
    """The protocol with an arm's dotted keys in place of its own values. Raises Refusal."""
    document = json.loads(protocol.model_dump_json())
    for key, value in overrides.items():
        section, _, field = key.partition(".")
        if section not in ("data", "model", "training") or not field:
            raise Refusal(
                f"{source}: protocol.{key}: allowed are keys of data, model and training, as in model.batch_norm"
            )
        if key in FIXED:
            raise Refusal(
                f"{source}: protocol.{key}: all arms share the prepared data; allowed is another protocol"
            )
        document[section][field] = value
    return resolved(document, source)


def named(
    given: dict[str, Any], known: Mapping[str, type[Named]], source: Path | str, where: str
) -> Named:
    """The checked settings of what `given["name"]` names among `known`. Raises Refusal, with a hint where there is one."""
    name = given.get("name")
    if not isinstance(name, str) or name not in known:
        raise Refusal(unknown(source, f"{where}.name", name, known) + _meant(str(name), known))
    return checked(
        known[name], {key: value for key, value in given.items() if key != "name"}, source, where
    )


def _meant(name: str, known: Mapping[str, type[Settings]]) -> str:
    """What to add where a name is another one's in some library, or a slip of the pen."""
    elsewhere = [
        own for own, kind in known.items() if name.lower() in getattr(kind, "also_called", ())
    ]
    near = elsewhere or difflib.get_close_matches(name.lower(), known, n=1)
    return f"; meant is perhaps {near[0]}" if near else ""
