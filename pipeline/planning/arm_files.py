"""Read the arms of a study, and the tuned baseline, from their files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import regularizers
from pipeline.config.parameters import PROTOCOLS
from pipeline.config.plan import BASELINE, PROTOCOL, Factor, Setting
from pipeline.config.validation import checked, invalid
from pipeline.planning.arms import Arm, ArmDefinition, ArmPlaces, Trial
from pipeline.planning.protocols import Protocol, factor_of, is_replaced, value_in, value_of
from pipeline.planning.resolution import read_named
from pipeline.planning.searches import TWO_VALUES, Search, least_grid, require_optuna, rounds
from pipeline.planning.spaces import MOST_SETTINGS, Space, read_space, size
from pipeline.runtime.errors import Refusal

AGAINST = "against"  # the key that names the arm an arm is compared with
RETUNE = "retune"  # the key that says whether an arm tunes nuisance values itself
SEARCH = "search"  # the key of a search over all spaces at once
SEARCHED = "searched"  # in place of a value of the protocol that an arm searches
EXAMPLE = ", as in {log: [0.001, 0.1], points: 5}"
SPACE = f"a search space{EXAMPLE}"
RETUNED = (  # protocol keys: an arm that changes one tunes nuisance values itself
    *("data.", "model.", "start."),
    *("training.optimizer", "training.schedule", "training.warm_up", "training.batch_size"),
)


def tuned_baseline(protocol: Protocol, path: Path) -> Arm | None:
    """Return the baseline arm with one trial for each setting in `tune`; None if `tune` is empty.

    Args:
        protocol: The protocol.
        path: Its file, for errors.

    Raises:
        Refusal: A space is invalid, or a value of one.
    """
    spaces, search = nuisance_spaces(protocol.tune, protocol.model_dump(mode="json"), path)
    if not spaces:
        return None
    named_spaces = {(PROTOCOL, key): space for key, space in spaces.items()}
    places = ArmPlaces(path, "tune", changes={key: f"tune.{key}" for key in spaces})
    fixed = {PROTOCOL: dict.fromkeys(spaces)}
    definition = ArmDefinition(fixed, named_spaces, frozenset(spaces), search, protocol, places)
    trials = _trials(definition, f"{path}: tune")
    return Arm(BASELINE, Factor(), BASELINE, regularizers.test_rule(()), trials, definition)


def nuisance_spaces(
    tune: Mapping[str, Any], document: Mapping[str, Any], path: Path
) -> tuple[dict[str, Space], Search | None]:
    """Return the search spaces of `tune` by dotted key, and their search; None for a grid.

    Args:
        tune: The section as written.
        document: The values of the protocol.
        path: Its file, for errors.

    Raises:
        Refusal: A space is invalid, or there is a design without one.
    """
    entries = dict(tune)
    search = _search(entries.pop(SEARCH), path, f"tune.{SEARCH}") if SEARCH in entries else None
    if search and not entries:
        raise Refusal(f"{path}: tune: {SEARCH} without a search space; expected one{EXAMPLE}")
    spaces = {}
    for key, value in entries.items():
        where = f"{path}: tune.{key}"
        space = read_space(value, where, isinstance(value_in(document, key), list))
        if space is None:
            raise Refusal(invalid(where, value, SPACE))
        if any(factor_of(item) is not None for item in space.values):
            raise Refusal(invalid(where, value, "numbers; only arms have factors"))
        spaces[key] = space
    return spaces, search


def read_arm(
    name: str, items: list[dict[str, Any]], protocol: Protocol, path: Path, is_fixed: bool = False
) -> Arm:
    """Read an arm from a study's file.

    Args:
        name: Its name in the file.
        items: The list under that name: regularizers with their values or spaces, changes of the
            protocol, the arm that it is compared with, and how it is searched.
        protocol: The protocol that the study runs under.
        path: The file, for error messages.
        is_fixed: Whether the arms of the study tune no nuisance values.

    Raises:
        Refusal: An entry is invalid; the error names the first one.
    """
    where = f"{path}: arms.{name}"
    if name == BASELINE:
        expected = "another name: the baseline, without changes, is part of every study"
        raise Refusal(invalid(where, name, expected))
    if not items:
        raise Refusal(invalid(where, items, "a list of at least one change"))
    entries = _read_items(name, items, path)
    fixed: Setting = dict(entries.regularizers)
    if entries.changes:
        fixed[PROTOCOL] = entries.changes
    spaces = _arm_spaces(fixed, protocol, entries.places)
    nuisance: dict[str, Space] = {}
    search = entries.search
    is_retuned = _is_retuned(entries, protocol)
    if is_retuned and not is_fixed:
        nuisance, common = _nuisance_of_arm(entries.changes, protocol)
        search = search or common
    if is_retuned and entries.retune_place and not nuisance:
        raise Refusal(invalid(entries.retune_place, True, _never_tuned(protocol, is_fixed)))
    if search and not (spaces or nuisance):
        raise Refusal(f"{where}: {SEARCH} without a search space; expected one{EXAMPLE}")
    if nuisance:
        fixed[PROTOCOL] = {**entries.changes, **dict.fromkeys(nuisance)}
        spaces |= {(PROTOCOL, key): space for key, space in nuisance.items()}
    definition = ArmDefinition(fixed, spaces, frozenset(nuisance), search, protocol, entries.places)
    trials = _trials(definition, where)
    rule = regularizers.test_rule(trials[0].regularizers)
    return Arm(
        name, _factor(entries, definition, trials), entries.against, rule, trials, definition
    )


@dataclass
class _Entries:
    """The values of the items of an arm in its file, by kind.

    Attributes:
        regularizers: Their values and spaces, by name.
        changes: Values and spaces of the protocol, by dotted key.
        places: Where they are in the file, for errors.
        against: The arm that it is compared with.
        search: How its spaces are searched; None for a grid, or for the search of `tune`.
        retune: Whether it tunes nuisance values; None if the file does not say.
        retune_place: The file and key of `retune`, for errors; "" without one.
    """

    regularizers: Setting
    changes: dict[str, Any]
    places: ArmPlaces
    against: str = BASELINE
    search: Search | None = None
    retune: bool | None = None
    retune_place: str = ""


def _read_items(name: str, items: Sequence[dict[str, Any]], path: Path) -> _Entries:
    """Return the values of the items of an arm.

    Raises:
        Refusal: An item is invalid.
    """
    entries = _Entries({}, {}, ArmPlaces(path, f"arms.{name}"))
    _check_keys_of_arm(items, path, name)
    for index, item in enumerate(items):
        place = f"arms.{name}.{index}"
        if PROTOCOL in item:
            values = _protocol_values(item, f"{path}: {place}")
            entries.changes |= values
            entries.places.changes.update({key: f"{place}.{PROTOCOL}.{key}" for key in values})
        elif AGAINST in item:
            entries.against = str(item[AGAINST])
        elif RETUNE in item:
            entries.retune_place = f"{path}: {place}.{RETUNE}"
            entries.retune = _boolean(item[RETUNE], entries.retune_place)
        elif SEARCH in item:
            entries.search = _search(item[SEARCH], path, f"{place}.{SEARCH}")
        else:
            _add_regularizer(entries, item, path, place)
    return entries


def _add_regularizer(entries: _Entries, item: dict[str, Any], path: Path, place: str) -> None:
    if not isinstance(item.get("name"), str):
        read_named(item, regularizers.settings(), path, place)  # an error
    name = str(item["name"])
    if name in entries.regularizers:
        raise Refusal(
            invalid(f"{path}: {place}.name", name, "a regularizer that the arm does not have yet")
        )
    entries.regularizers[name] = {key: value for key, value in item.items() if key != "name"}
    entries.places.items[name] = place


def _is_retuned(entries: _Entries, protocol: Protocol) -> bool:
    """Return whether an arm tunes nuisance values: by `retune`, otherwise by its changes."""
    if entries.retune is not None:
        return entries.retune
    return any(
        key.startswith(RETUNED) and value_of(protocol, key) != value
        for key, value in entries.changes.items()
    )


def _nuisance_of_arm(
    changes: Mapping[str, Any], protocol: Protocol
) -> tuple[dict[str, Space], Search | None]:
    """Return the nuisance spaces that an arm tunes, and the search over them."""
    path = PROTOCOLS / f"{protocol.name}.yaml"
    tuned, search = nuisance_spaces(protocol.tune, protocol.model_dump(mode="json"), path)
    spaces = {key: space for key, space in tuned.items() if not is_replaced(key, changes)}
    return spaces, search if spaces else None


def _factor(entries: _Entries, definition: ArmDefinition, trials: Sequence[Trial]) -> Factor:
    """Return the regularizers of an arm, and the values of the protocol that it changes."""
    values = {key: _shown(definition, trials, key) for key in entries.changes}
    protocol = definition.protocol
    changed = {key: value for key, value in values.items() if value_of(protocol, key) != value}
    return Factor(regularizers=tuple(entries.regularizers), protocol=changed)


def _check_keys_of_arm(items: Sequence[Mapping[str, Any]], path: Path, name: str) -> None:
    """Check that each key of the arm as a whole is an item of its own, and is there once.

    Raises:
        Refusal: One is beside other keys, or is listed twice.
    """
    for key in (AGAINST, RETUNE, SEARCH):
        indices = [index for index, item in enumerate(items) if key in item]
        for index in indices:
            if len(items[index]) > 1:
                where = f"{path}: arms.{name}.{index}"
                raise Refusal(invalid(where, items[index], f"an item with {key} alone"))
        if len(indices) > 1:
            where = f"{path}: arms.{name}.{indices[1]}"
            raise Refusal(invalid(where, items[indices[1]], f"{key} once in an arm"))


def _protocol_values(item: dict[str, Any], where: str) -> dict[str, Any]:
    values = item[PROTOCOL]
    if set(item) != {PROTOCOL} or not isinstance(values, dict) or not values:
        expected = "a mapping such as {protocol: {model.batch_norm: false}}"
        raise Refusal(invalid(where, item, expected))
    return values


def _arm_spaces(
    fixed: Setting, protocol: Protocol, places: ArmPlaces
) -> dict[tuple[str, str], Space]:
    """Return the spaces among the values of an arm, by part and key."""
    spaces = {}
    for part, values in fixed.items():
        for key, value in values.items():
            listed = part == PROTOCOL and isinstance(value_of(protocol, key), list)
            space = read_space(value, places.of(part, key), listed)
            if space is not None:
                spaces[part, key] = space
    return spaces


def _trials(definition: ArmDefinition, where: str) -> tuple[Trial, ...]:
    """Return every setting of an arm.

    Raises:
        Refusal: There are too many, a range has no number of points, or a value is invalid.
    """
    if definition.search is None:
        _require_values(definition, where)
    elif definition.search.method == "grid":
        _require_trials(list(definition.spaces.values()), definition.search, where)
    trials = tuple(definition.trial(proposal.values) for proposal in definition.proposals())
    if definition.search:
        _require_epochs(definition, definition.search, trials, where)
    return trials


def _require_values(definition: ArmDefinition, where: str) -> None:
    """Check that an arm without a search lists values, and not too many settings.

    Raises:
        Refusal: A range has no number of points, or there are too many settings.
    """
    for (part, key), space in definition.spaces.items():
        if not space.values:
            expected = "an integer, as in {log: [0.001, 0.1], points: 5}"
            place = definition.places.of(part, key)
            raise Refusal(f"{place}.points: missing; expected {expected}")
    settings = size(list(definition.spaces.values()))
    if settings > MOST_SETTINGS:
        expected = f"at most {MOST_SETTINGS}, or {{search: {{method: sobol, trials: 64}}}}"
        raise Refusal(f"{where}: {settings} settings; expected {expected}")


def _require_trials(spaces: Sequence[Space], search: Search, where: str) -> None:
    """Check that a search of a grid has as many trials as the smallest grid has settings.

    Raises:
        Refusal: It has fewer.
    """
    least = least_grid(spaces)
    if least > search.trials:
        ranges = "" if all(space.values for space in spaces) else TWO_VALUES
        expected = f"an integer >= {least}, the settings of the grid{ranges}"
        raise Refusal(invalid(f"{where}: {SEARCH}.trials", search.trials, expected))


def _require_epochs(
    definition: ArmDefinition, search: Search, trials: Sequence[Trial], where: str
) -> None:
    """Check that the schedules of a search are long enough for its shortest trials.

    Raises:
        Refusal: They would have less than an epoch, or a value does not go with few epochs.
    """
    budget = rounds(search)[0][1]
    least = round(1 / budget)
    for trial in trials:
        epochs = trial.protocol.training.epochs
        if epochs < least:
            expected = f"an integer >= {least} for {search.method}, which shortens schedules"
            raise Refusal(invalid(f"{where}: training.epochs", epochs, expected))
        definition.shortened(trial, budget)


def _search(value: Any, path: Path, where: str) -> Search:
    search = checked(Search, value, path, where)
    if search.method == "sobol" and search.trials & (search.trials - 1):
        expected = "a power of 2 for sobol, such as 16"
        raise Refusal(invalid(f"{path}: {where}.trials", search.trials, expected))
    if search.method == "tpe":
        require_optuna(f"{path}: {where}.method")
    return search


def _never_tuned(protocol: Protocol, is_fixed: bool) -> str:
    """Return the text on the expected `retune` of an arm that has no value to tune."""
    if is_fixed:
        return "false in a study with ensemble, variance or search"
    file = PROTOCOLS / f"{protocol.name}.yaml"
    return f"false, or a value under tune in {file} that neither params.yaml nor the arm gives"


def _boolean(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise Refusal(invalid(where, value, "true or false"))
    return value


def _shown(definition: ArmDefinition, trials: Sequence[Trial], key: str) -> Any:
    """Return the value of a protocol key if all settings share it, otherwise `SEARCHED`."""
    values = [trial.setting[PROTOCOL][key] for trial in trials]
    space = definition.spaces.get((PROTOCOL, key))
    is_left = space is not None and len(space.values) != 1 and definition.search is not None
    return SEARCHED if is_left or any(value != values[0] for value in values) else values[0]
