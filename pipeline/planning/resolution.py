"""Complete the model settings of a protocol and apply the protocol changes of an arm."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pipeline import models, optimizers, regularizers, schedules
from pipeline.config.run import Data, Training
from pipeline.config.settings import Settings
from pipeline.config.start import Rates, Start
from pipeline.config.validation import (
    Inner,
    Refusals,
    Source,
    checked,
    errors_in,
    invalid,
    one_of,
    place_of,
    unknown_key,
    unknown_name,
)
from pipeline.optimizers._optimizer import Optimizer
from pipeline.planning.pretraining import document_of_pretraining, require_valid_starts
from pipeline.planning.protocols import (
    IMPORTED,
    Pretraining,
    Protocol,
    checked_protocol,
    network_of,
    require_dataset,
    with_source,
)
from pipeline.planning.start_mistakes import checked_start, require_effect
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.behaviour import require_visible
from pipeline.runtime.errors import Refusal
from pipeline.schedules._schedule import Schedule, warm_up_updates

FIXED = ("data.dataset", "data.test_fraction", "data.classes")  # all arms share the prepared data
CHANGED = ("data", "model", "training", "start")
Named = TypeVar("Named", bound=Settings)


def resolve_protocol(document: dict[str, Any], source: Source) -> Protocol:
    """Return a checked protocol whose model, optimizer and schedule settings are complete.

    Args:
        document: The plain values of the protocol.
        source: Their file, for error messages.

    Raises:
        Refusal: A value is invalid, or two values do not fit together.
    """
    refusals = Refusals()
    with refusals.collect():
        require_dataset(document.get("data"), source)
    with refusals.collect():
        _require_parts_of_training(document.get("training"), source)
    with refusals.collect():
        protocol = checked_protocol(document, source)
    if refusals.lines:  # what is checked below, of sections that may be valid
        if isinstance(model := document.get("model"), Mapping):
            with refusals.collect():
                _complete_model(model, source)
        if isinstance(start := document.get("start"), Mapping):
            with refusals.collect():
                checked_start(start, source)
    refusals.require_none()
    with refusals.collect():
        protocol = with_source(protocol, source)
    with refusals.collect():
        training = _complete_training(protocol, source)
    with refusals.collect():
        model = _complete_model(protocol.model, source)
    with refusals.collect():
        start = checked_start(protocol.start, source)
    refusals.require_none()
    pretraining = {name: _pretraining(protocol, name, source) for name in protocol.pretraining}
    starts = {name: Start.model_validate(values["start"]) for name, values in pretraining.items()}
    require_valid_starts({"": start, **starts}, source)
    _require_weights(protocol, start, Inner(source, "start"))
    for name, start_of_pretraining in starts.items():
        place = Inner(source, f"pretraining.{name}.start")
        _require_weights(protocol, start_of_pretraining, place)
    values = {
        "model": model,
        "training": training,
        "pretraining": pretraining,
        "start": start.model_dump(mode="json", by_alias=True),
    }
    return protocol.model_copy(update=values)


def _require_parts_of_training(training: Any, source: Source) -> None:
    """Check the optimizer and the schedule of a section that may have other mistakes.

    Raises:
        Refusal: One does not exist, or a setting of it is invalid.
    """
    if not isinstance(training, Mapping):
        return
    refusals = Refusals()
    kinds: dict[str, Mapping[str, type[Settings]]] = {
        "optimizer": optimizers.settings(),
        "schedule": schedules.settings(),
    }
    for key, classes in kinds.items():
        value = training.get(key)
        document = {"name": value} if isinstance(value, str) else value
        if isinstance(document, Mapping):
            with refusals.collect():
                read_named(dict(document), classes, source, f"training.{key}")
    refusals.require_none()


def _complete_training(protocol: Protocol, source: Source) -> Training:
    """Return the training section with all settings of its optimizer and its schedule.

    Raises:
        Refusal: A value is invalid, or does not fit the data or another value.
    """
    data, training = protocol.data, protocol.training
    if training.batch_size > data.train_size:
        expected = f"an integer <= {data.train_size} (data.train_size)"
        raise Refusal(
            invalid(place_of(source, "training.batch_size"), training.batch_size, expected)
        )
    optimizer = read_named(training.optimizer, optimizers.settings(), source, "training.optimizer")
    schedule = read_named(training.schedule, schedules.settings(), source, "training.schedule")
    _require_full_batch(protocol, optimizer, source)
    _require_cycles(protocol, schedule, source)
    complete = {
        "optimizer": {"name": optimizer.name, **optimizer.model_dump(mode="json")},
        "schedule": {"name": schedule.name, **schedule.model_dump(mode="json")},
    }
    return training.model_copy(update=complete)


def _complete_model(model: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Return all settings of the network of a protocol.

    Raises:
        Refusal: A value is invalid, or the class of an imported network is not found.
    """
    values = {**model, "name": network_of(model)}
    if "import" in values:
        with errors_in(source):
            require_visible(str(values["import"]).partition(":")[0])
            if values["name"] == IMPORTED:
                _require_common(values)
    settings = read_named(values, models.settings(), source, "model")
    return {"name": values["name"], **settings.model_dump(mode="json", by_alias=True)}


def _pretraining(protocol: Protocol, name: str, source: Source) -> dict[str, Any]:
    """Return the complete settings of a pretraining.

    Raises:
        Refusal: A value is invalid, or two do not fit together.
    """
    document = protocol.model_dump(mode="json")
    where = f"pretraining.{name}"
    pretraining = checked(Pretraining, document["pretraining"][name], source, where)
    start = checked_start(pretraining.start, source, f"{where}.start")
    values = document_of_pretraining(document, pretraining)
    complete = resolve_protocol(values, Inner(source, where)).model_dump(mode="json")
    chosen = [
        read_named(item, regularizers.settings(), source, f"{where}.regularizers.{number}")
        for number, item in enumerate(pretraining.regularizers)
    ]
    return {
        **{key: complete[key] for key in ("data", "source", "training")},
        "start": start.model_dump(mode="json", by_alias=True),
        "regularizers": [{"name": item.name, **item.model_dump(mode="json")} for item in chosen],
        "share": pretraining.share,
    }


def _require_weights(protocol: Protocol, start: Start, source: Source) -> None:
    """Check that there are weights to start from, if some layers are frozen or have their own rate.

    Args:
        protocol: The protocol.
        start: The start of its runs, or of those of a pretraining.
        source: Where its values come from, for errors.

    Raises:
        Refusal: It begins with random weights, or with all of a file where some are to be random.
    """
    if start.source is not None or start.is_fresh:
        return
    if not protocol.model.get("weights"):
        names = [*protocol.pretraining]
        pretraining = f"{one_of(names)} (pretraining)" if names else "a pretraining of the protocol"
        expected = f"{pretraining}, or model.weights"
        raise Refusal(f"{place_of(source, 'from')}: missing; expected {expected}")
    if start.reinitialize:
        expected = "0 without start.from: every tensor of model.weights is loaded"
        raise Refusal(invalid(place_of(source, "reinitialize"), start.reinitialize, expected))


def _require_common(values: Mapping[str, Any]) -> None:
    """Check that settings for a user's own network are not settings of this package's networks.

    Raises:
        Refusal: One is.
    """
    classes = models.settings()
    common = {info.alias or name for name, info in classes[IMPORTED].model_fields.items()}
    for key in values.keys() - common:
        if names := [name for name, kind in classes.items() if key in kind.model_fields]:
            raise Refusal(
                f"model.{key}: a setting of {', '.join(names)}; expected an argument of "
                f"your own network instead: model.arguments.{key}"
            )


def override_protocol(protocol: Protocol, overrides: dict[str, Any], source: Source) -> Protocol:
    """Return the protocol with the values of an arm in place of the protocol's.

    Args:
        protocol: The protocol of the study.
        overrides: The values by dotted key, such as model.batch_norm.
        source: Where they come from, for errors.

    Raises:
        Refusal: An arm cannot change a key, or a value is invalid or has no effect.
    """
    document = protocol.model_dump(mode="json")
    # a mapping before the values in it
    for key, value in sorted(overrides.items(), key=lambda item: item[0].count(".")):
        section, *names = key.split(".")
        where = place_of(source, key)
        if section not in CHANGED or not names or "" in names:
            raise Refusal(
                f"{where}: unknown key; "
                f"expected a key of {', '.join(CHANGED)}, as in model.batch_norm"
            )
        if key == "data.train_size" and protocol.data.per_class is not None:
            expected = "data.per_class, which gives the number of training examples here"
            raise Refusal(invalid(where, value, expected))
        if key in FIXED:
            raise Refusal(
                f"{where}: the same for all arms, which share the prepared data; "
                "expected another protocol"
            )
        inner = _inner(document[section], names[:-1], where.removesuffix(f".{'.'.join(names)}"))
        inner[names[-1]] = value
    changed = resolve_protocol(document, source)
    start_values = {
        key.removeprefix("start."): value
        for key, value in overrides.items()
        if key.startswith("start.")
    }
    require_effect(Start.model_validate(changed.start), start_values, Inner(source, "start"))
    return changed


def section_class(protocol: Protocol, section: str) -> type[Settings] | None:
    """Return the class of settings of a section; None if it has none.

    Args:
        protocol: A resolved protocol, which names optimizer, schedule and network.
        section: The dotted key of a section, as training.optimizer.
    """
    kinds: dict[str, type[Settings]] = {
        "data": Data,
        "training": Training,
        "training.optimizer": optimizers.settings()[protocol.training.optimizer["name"]],
        "training.schedule": schedules.settings()[protocol.training.schedule["name"]],
        "model": models.settings()[protocol.model["name"]],
        "start": Start,
        "start.rates": Rates,
    }
    return kinds.get(section)


def _inner(values: dict[str, Any], names: Sequence[str], where: str) -> dict[str, Any]:
    """Return the nested mapping at a path of names.

    Raises:
        Refusal: A name leads to no mapping.
    """
    for name in names:
        where = f"{where}.{name}"
        if isinstance(values.get(name), str):  # a name that stands for its defaults
            values[name] = {"name": values[name]}
        if not isinstance(values.get(name), dict):
            mappings = [key for key, value in values.items() if isinstance(value, dict)]
            raise Refusal(unknown_key(where, mappings))
        values = values[name]
    return values


def _require_full_batch(protocol: Protocol, optimizer: Optimizer, source: Source) -> None:
    """Check that an optimizer with a line search has a full batch and full precision.

    Raises:
        Refusal: It does not.
    """
    training, size = protocol.training, protocol.data.train_size
    if not optimizer.full_batch:
        return
    if training.batch_size != size:
        expected = f"{size} (data.train_size) with {optimizer.name}, which takes the full batch"
        raise Refusal(
            invalid(place_of(source, "training.batch_size"), training.batch_size, expected)
        )
    if training.precision == "16-mixed":
        expected = f"32-true or bf16-mixed with {optimizer.name}: 16-mixed scales gradients"
        raise Refusal(invalid(place_of(source, "training.precision"), training.precision, expected))


def _require_cycles(protocol: Protocol, schedule: Schedule, source: Source) -> None:
    """Check the number of snapshots, which equals the number of cycles of some schedules.

    Raises:
        Refusal: There are more than updates, or none under a schedule of cycles.
    """
    data, training = protocol.data, protocol.training
    where = place_of(source, "training.snapshots")
    updates = training.epochs * (data.train_size // training.batch_size)
    most = updates - warm_up_updates(training.warm_up, updates)
    if training.snapshots > most:
        expected = f"an integer <= {most} (the number of updates)"
        raise Refusal(invalid(where, training.snapshots, expected))
    if schedule.needs_snapshots and not training.snapshots:
        expected = f"an integer >= 1 with schedule {schedule.name}: the number of its cycles"
        raise Refusal(invalid(where, training.snapshots, expected))


def read_named(
    document: dict[str, Any], classes: Mapping[str, type[Named]], source: Source, where: str
) -> Named:
    """Return the checked settings of the class that `document["name"]` names.

    Args:
        document: The name and the settings, as plain values.
        classes: The classes of settings by name.
        source: The file of the values, for error messages.
        where: The key of the values in that file, for error messages.

    Raises:
        Refusal: There is no such class, or a setting is invalid.
    """
    name, place = document.get("name"), place_of(source, f"{where}.name")
    if name is None:
        raise Refusal(f"{place}: missing; expected {one_of(sorted(classes))}")
    if not isinstance(name, str):
        raise Refusal(invalid(place, name, one_of(sorted(classes))))
    if name not in classes:
        raise Refusal(unknown_name(place, name, classes, _synonyms(classes)))
    values = {key: value for key, value in document.items() if key != "name"}
    return checked(classes[name], values, source, where)


def _synonyms(classes: Mapping[str, type[Settings]]) -> dict[str, str]:
    """Return names from other libraries, such as of regularizers, with their names here."""
    return {
        other: name
        for name, kind in classes.items()
        if issubclass(kind, Regularizer | Optimizer | Schedule)
        for other in kind.also_called
    }
