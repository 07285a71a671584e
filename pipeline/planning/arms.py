"""Read the arms of a study: every setting they try, with its regularizers and its protocol."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import optimizers, regularizers
from pipeline.config.labels import format_rule, format_setting
from pipeline.config.plan import BASELINE, PROTOCOL, Factor, Setting
from pipeline.config.test_rules import TestRule
from pipeline.config.validation import checked, invalid, one_of, suggestion
from pipeline.planning.effects import effects
from pipeline.planning.protocols import (
    PROTOCOLS,
    Protocol,
    factor_of,
    is_replaced,
    multiplied,
    value_of,
)
from pipeline.planning.resolution import named, overridden
from pipeline.planning.spaces import MOST_SETTINGS, Search, Space, design, grid, read_space, size
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.errors import Refusal

AGAINST = "against"  # the key that names the arm an arm is compared with
RETUNE = "retune"  # the key that says whether an arm tunes nuisance values itself
SEARCH = "search"  # the key of a design over all spaces
SEARCHED = "searched"  # in place of a value of the protocol of which an arm tries several
EXAMPLE = ", as in {log: [0.001, 0.1], points: 5}"
SPACE = f"a search space{EXAMPLE}"
RETUNED = (  # protocol keys: an arm that changes one tunes nuisance values itself
    *("data.", "model."),
    *("training.optimizer", "training.schedule", "training.warm_up", "training.batch_size"),
)


@dataclass(frozen=True)
class Written:
    """What the file of an arm says, from which all its settings are made.

    Attributes:
        fixed: The values by regularizer, those of the protocol under `protocol`; None for a value
            that is searched.
        spaces: The values that are searched, by part of a setting and key.
        nuisance: Those of `spaces` that the arm tunes again, as the protocol does for the baseline.
        search: The design over all spaces, None for a grid.
        protocol: The protocol that the study runs under.
        path: The file.
        places: The key of each part in that file.
    """

    fixed: Setting
    spaces: Mapping[tuple[str, str], Space]
    nuisance: frozenset[str]
    search: Search | None
    protocol: Protocol
    path: Path
    places: Mapping[str, str]

    def combinations(self) -> list[tuple[Any, ...]]:
        """Return the values of every setting, in the order of `spaces`, equal ones once."""
        if self.search and self.spaces:
            names = [f"{part}.{key}" for part, key in self.spaces]
            return design(dict(zip(names, self.spaces.values(), strict=True)), self.search)
        return grid(list(self.spaces.values()))

    def trial(self, values: Sequence[Any]) -> "Trial":
        """Return the setting with these values of `spaces`, resolved.

        Raises:
            Refusal: A value is invalid.
        """
        setting = {part: dict(given) for part, given in self.fixed.items()}
        for (part, key), value in zip(self.spaces, values, strict=True):
            setting[part][key] = value
        protocol = self.protocol
        if PROTOCOL in setting:
            where = f"{self.path}: {self.places[PROTOCOL]}"
            setting[PROTOCOL] = multiplied(setting[PROTOCOL], protocol, where)
            protocol = overridden(protocol, setting[PROTOCOL], where)
        chosen = [
            named({"name": part, **given}, regularizers.settings(), self.path, self.places[part])
            for part, given in setting.items()
            if part != PROTOCOL
        ]
        return Trial(setting, tuple(chosen), protocol)


@dataclass(frozen=True)
class Trial:
    """One setting of an arm, resolved.

    Attributes:
        setting: The values as written, by regularizer; changes of the protocol under `protocol`.
        regularizers: The checked regularizers of the setting, in order.
        protocol: The protocol that its runs train under, with the changes of the arm applied.
    """

    setting: Setting
    regularizers: tuple[Regularizer, ...]
    protocol: Protocol


@dataclass(frozen=True)
class Arm:
    """An arm of a study with every setting that it tries.

    Attributes:
        name: Its name in the study's file.
        factor: What it changes against the arm named by `against`.
        against: The name of the arm that it is compared with.
        rule: The rule by which it is averaged at test, the same for all its settings.
        trials: Its settings, in the order of the file.
        written: What its file says.
    """

    name: str
    factor: Factor
    against: str
    rule: TestRule
    trials: tuple[Trial, ...]
    written: Written

    @property
    def has_own_space(self) -> bool:
        """Return whether it searches more than nuisance values."""
        keys = [key for (_, key), space in self.written.spaces.items() if len(space.values) != 1]
        return not self.written.nuisance.issuperset(keys)

    def trial_of(self, setting: Setting) -> Trial:
        """Return the trial of a setting that the arm has tried, also after widening.

        Raises:
            KeyError: The setting lacks a value that the arm searches.
            Refusal: The arm cannot have this setting.
        """
        for (part, key), space in self.written.spaces.items():
            listed = [trial.setting[part][key] for trial in self.trials]
            if space.scale is None and setting[part][key] not in listed:
                raise Refusal(f"{self.name}: {part}.{key}: not in its list")
        trial = self.written.trial([setting[part][key] for part, key in self.written.spaces])
        if trial.setting != setting:
            raise Refusal(f"{self.name}: a value that is not searched differs")
        return trial


def baseline(protocol: Protocol) -> Arm:
    """Return the arm without regularizers, which every study has."""
    written = Written({}, {}, frozenset(), None, protocol, Path(), {})
    return Arm(
        BASELINE, Factor(), BASELINE, regularizers.test_rule(()), (written.trial(()),), written
    )


def tuned_baseline(protocol: Protocol, path: Path) -> Arm | None:
    """Return the baseline with every value that `tune` of its protocol lists; None without any.

    Args:
        protocol: The protocol.
        path: Its file, for errors.

    Raises:
        Refusal: A space is invalid, or a value of one.
    """
    spaces, search = nuisance_spaces(protocol, path)
    if not spaces:
        return None
    named_spaces = {(PROTOCOL, key): space for key, space in spaces.items()}
    fixed = {PROTOCOL: dict.fromkeys(spaces)}
    places = {PROTOCOL: "tune"}
    written = Written(fixed, named_spaces, frozenset(spaces), search, protocol, path, places)
    trials = _trials(written, f"{path}: tune")
    return Arm(BASELINE, Factor(), BASELINE, regularizers.test_rule(()), trials, written)


def nuisance_spaces(protocol: Protocol, path: Path) -> tuple[dict[str, Space], Search | None]:
    """Return the spaces of `tune` by dotted key, and the design over them, None for a grid.

    Raises:
        Refusal: A space is invalid.
    """
    given = dict(protocol.tune)
    search = _search(given.pop(SEARCH), path, f"tune.{SEARCH}") if SEARCH in given else None
    if search and not given:
        raise Refusal(f"{path}: tune: {SEARCH} without a search space; expected one{EXAMPLE}")
    spaces = {}
    for key, value in given.items():
        where = f"{path}: tune.{key}"
        space = read_space(value, where, isinstance(value_of(protocol, key), list))
        if space is None:
            raise Refusal(invalid(where, value, SPACE))
        if any(factor_of(item) is not None for item in space.values):
            raise Refusal(invalid(where, value, "numbers; only arms have factors"))
        spaces[key] = space
    return spaces, search


def read_arm(
    name: str, items: list[dict[str, Any]], protocol: Protocol, path: Path, is_single: bool = False
) -> Arm:
    """Read an arm from a study's file.

    Args:
        name: Its name in the file.
        items: The list under that name: regularizers with their values or spaces, changes of the
            protocol, the arm that it is compared with, and how it is searched.
        protocol: The protocol that the study runs under.
        path: The file, for error messages.
        is_single: Whether the study gives each arm one setting, so that none tunes nuisance values.

    Raises:
        Refusal: An entry is invalid; the error names the first one.
    """
    where = f"{path}: arms.{name}"
    if name == BASELINE:
        raise Refusal(f"{where}: the name of the empty arm, part of every study; expected another")
    if not items:
        raise Refusal(invalid(where, items, "a list of regularizers"))
    fixed: Setting = {}
    changes: dict[str, Any] = {}
    places = {PROTOCOL: f"arms.{name}"}
    against, search = BASELINE, None
    retune: bool | None = None
    retune_place = ""
    for index, item in enumerate(items):
        place = f"arms.{name}.{index}"
        if PROTOCOL in item:
            changes |= _protocol_values(item, where)
        elif set(item) == {AGAINST}:
            against = str(item[AGAINST])
        elif set(item) == {RETUNE}:
            retune_place = f"{path}: {place}.{RETUNE}"
            retune = _boolean(item[RETUNE], retune_place)
        elif set(item) == {SEARCH}:
            search = _search(item[SEARCH], path, f"{place}.{SEARCH}")
        else:
            if not isinstance(item.get("name"), str):
                named(item, regularizers.settings(), path, place)  # an error
            regularizer = str(item["name"])
            if regularizer in fixed:
                raise Refusal(f"{where}: {regularizer} is listed twice; expected each once")
            fixed[regularizer] = {key: value for key, value in item.items() if key != "name"}
            places[regularizer] = place
    factors = tuple(fixed)
    if changes:
        fixed[PROTOCOL] = changes
    if retune is None:
        retune = any(
            key.startswith(RETUNED) and value_of(protocol, key) != value
            for key, value in changes.items()
        )
    spaces = _arm_spaces(fixed, protocol, path, places)
    nuisance: dict[str, Space] = {}
    if retune and not is_single:
        tuned, common = nuisance_spaces(protocol, PROTOCOLS / f"{protocol.name}.yaml")
        nuisance = {key: space for key, space in tuned.items() if not is_replaced(key, changes)}
        search = search or (common if nuisance else None)
    if retune and retune_place and not nuisance:
        raise Refusal(invalid(retune_place, True, _never_tuned(protocol, is_single)))
    if search and not (spaces or nuisance):
        raise Refusal(f"{where}: {SEARCH} without a search space; expected one{EXAMPLE}")
    if nuisance:
        fixed[PROTOCOL] = {**changes, **dict.fromkeys(nuisance)}
        spaces |= {(PROTOCOL, key): space for key, space in nuisance.items()}
    written = Written(fixed, spaces, frozenset(nuisance), search, protocol, path, places)
    trials = _trials(written, where)
    shown = {key: _shown(trials, key) for key in changes}
    moved = {key: value for key, value in shown.items() if value_of(protocol, key) != value}
    factor = Factor(regularizers=factors, protocol=moved)
    rule = regularizers.test_rule(trials[0].regularizers)
    return Arm(name, factor, against, rule, trials, written)


def network_key(trial: Trial) -> str:
    """Return a text that is equal for settings that train the same network.

    Raises:
        Refusal: A regularizer cannot act on the network.
    """
    protocol = trial.protocol
    optimizer = optimizers.parse(protocol.training.optimizer)
    settings = protocol.settings()
    settings["training"]["optimizer"] = optimizer.effect()
    acting = effects(trial.regularizers, protocol.network_settings())
    if optimizer.decouples:
        acting = [
            [name, {**effect, "decoupled": True} if "decoupled" in effect else effect]
            for name, effect in acting
        ]
    return json.dumps([acting, settings])


def relative(arm: Arm, arms: Sequence[Arm]) -> Arm:
    """Return the arm with its factor against its reference, without what both arms have.

    Args:
        arm: The arm, its factor against the baseline.
        arms: All arms of the study, the reference among them.
    """
    if arm.against == BASELINE:
        return arm
    other = next(one.factor for one in arms if one.name == arm.against)
    added = tuple(name for name in arm.factor.regularizers if name not in other.regularizers)
    changed = {
        key: value
        for key, value in arm.factor.protocol.items()
        if (key, value) not in other.protocol.items()
    }
    return replace(arm, factor=Factor(regularizers=added, protocol=changed))


def mistakes(arms: Sequence[Arm], path: Path, is_tuned: bool = False) -> Iterator[str]:
    """Yield an error line for each arm or setting that does not fit with the rest of its study.

    Args:
        arms: All arms of the study.
        path: The study's file, for the lines.
        is_tuned: Whether the protocol has tuned values. These may make settings equal that were
            different as written.
    """
    yield from _duplicates(arms, path, is_tuned)
    yield from _unknown_references(arms, path)
    yield from _mixed_rules(arms, path)


def _protocol_values(item: dict[str, Any], where: str) -> dict[str, Any]:
    values = item[PROTOCOL]
    if set(item) != {PROTOCOL} or not isinstance(values, dict) or not values:
        expected = "a mapping such as {protocol: {model.batch_norm: false}}"
        raise Refusal(invalid(where, item, expected))
    return values


def _arm_spaces(
    fixed: Setting, protocol: Protocol, path: Path, places: Mapping[str, str]
) -> dict[tuple[str, str], Space]:
    """Return the spaces among the values of an arm, by part and key."""
    spaces = {}
    for part, values in fixed.items():
        for key, value in values.items():
            where = f"{path}: {places[part]}.{key}"
            listed = part == PROTOCOL and isinstance(value_of(protocol, key), list)
            space = read_space(value, where, listed)
            if space is not None:
                spaces[part, key] = space
    return spaces


def _trials(written: Written, where: str) -> tuple[Trial, ...]:
    """Return every setting of an arm.

    Raises:
        Refusal: There are too many, a range has no number of points, or a value is invalid.
    """
    if written.search is None:
        for (part, key), space in written.spaces.items():
            if not space.values:
                expected = "an integer, as in {log: [0.001, 0.1], points: 5}"
                place = f"{written.path}: {written.places[part]}.{key}"
                raise Refusal(f"{place}.points: missing; expected {expected}")
        count = size(list(written.spaces.values()))
        if count > MOST_SETTINGS:
            expected = f"at most {MOST_SETTINGS}, or {{search: {{method: sobol, trials: 64}}}}"
            raise Refusal(f"{where}: {count} settings; expected {expected}")
    return tuple(written.trial(values) for values in written.combinations())


def _search(value: Any, path: Path, where: str) -> Search:
    search = checked(Search, value, path, where)
    if search.method == "sobol" and search.trials & (search.trials - 1):
        expected = "a power of 2 for sobol, such as 16"
        raise Refusal(invalid(f"{path}: {where}.trials", search.trials, expected))
    return search


def _never_tuned(protocol: Protocol, is_single: bool) -> str:
    """Return what is expected of `retune` in an arm that has no value to tune."""
    if is_single:
        return "false in a study with ensemble or variance"
    file = PROTOCOLS / f"{protocol.name}.yaml"
    return f"false, or a value under tune in {file} that neither params.yaml nor the arm gives"


def _boolean(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise Refusal(invalid(where, value, "true or false"))
    return value


def _shown(trials: Sequence[Trial], key: str) -> Any:
    """Return the value of a protocol key that all settings share, else that it is searched."""
    values = [trial.setting[PROTOCOL][key] for trial in trials]
    return values[0] if all(value == values[0] for value in values) else SEARCHED


def _duplicates(arms: Sequence[Arm], path: Path, is_tuned: bool) -> Iterator[str]:
    """Yield a line for each setting that trains the same network as another, or that cannot act.

    An arm that tunes nuisance values may have the baseline among its settings.
    """
    seen: dict[str, str] = {}
    for arm in arms:
        refused: dict[str, str] = {}  # why settings cannot act -> the first of them
        for trial in arm.trials:
            label = format_setting(trial.setting)
            where = f"arms.{arm.name} ({label})" if label else f"arms.{arm.name}"
            try:
                key = network_key(trial)
            except Refusal as refusal:
                for line in refusal.lines:
                    refused.setdefault(line, where)
                continue
            first = seen.setdefault(key, where)
            allowed = is_tuned or (arm.written.nuisance and first == f"arms.{BASELINE}")
            if first != where and not allowed:
                yield f"{path}: {where}: the same network as {first}; expected each once"
        yield from (f"{path}: {where}: {line}" for line, where in refused.items())


def _unknown_references(arms: Sequence[Arm], path: Path) -> Iterator[str]:
    """Yield a line for each arm compared with one that does not exist or has several settings."""
    fit = {arm.name for arm in arms if not arm.has_own_space}
    for arm in arms:
        if arm.against not in fit or arm.against == arm.name != BASELINE:
            others = sorted(fit - {arm.name})
            expected = f"{one_of(others)} (arms with one setting)"
            line = invalid(f"{path}: arms.{arm.name}.against", arm.against, expected)
            yield line + suggestion(arm.against, others)


def _mixed_rules(arms: Sequence[Arm], path: Path) -> Iterator[str]:
    """Yield a line for each arm whose settings are averaged differently at test."""
    for arm in arms:
        distinct = {regularizers.test_rule(trial.regularizers) for trial in arm.trials}
        rules = sorted(format_rule(rule) for rule in distinct)
        if len(rules) > 1:
            yield (
                f"{path}: arms.{arm.name}: settings with the test rules {' and '.join(rules)}; "
                "expected one in each arm"
            )
