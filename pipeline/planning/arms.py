"""Read the arms of a study: every setting they try, with its regularizers and its protocol."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import regularizers
from pipeline.config.labels import format_rule, format_setting
from pipeline.config.plan import BASELINE, PROTOCOL, Factor, Setting
from pipeline.config.test_rules import TestRule
from pipeline.config.validation import invalid, one_of, suggestion
from pipeline.planning.effects import effects
from pipeline.planning.protocols import Protocol, multiplied, value_of
from pipeline.planning.resolution import named, overridden
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.errors import Refusal

AGAINST = "against"  # the key that names the arm an arm is compared with


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
    """

    name: str
    factor: Factor
    against: str
    rule: TestRule
    trials: tuple[Trial, ...]


def baseline(protocol: Protocol) -> Arm:
    """Return the arm without regularizers, which every study has."""
    trial = Trial({}, (), protocol)
    return Arm(BASELINE, Factor(), BASELINE, regularizers.test_rule(()), (trial,))


def read_arm(name: str, items: list[dict[str, Any]], protocol: Protocol, path: Path) -> Arm:
    """Read an arm from a study's file.

    Args:
        name: Its name in the file.
        items: The list under that name: regularizers with their values or lists of values, changes
            of the protocol, and the arm that it is compared with.
        protocol: The protocol that the study runs under.
        path: The file, for error messages.

    Raises:
        Refusal: An entry is invalid; the error names the first one.
    """
    where = f"{path}: arms.{name}"
    if name == BASELINE:
        raise Refusal(f"{where}: the name of the empty arm, part of every study; expected another")
    if not items:
        raise Refusal(invalid(where, items, "a list of regularizers"))
    written: dict[str, Any] = {}
    against = BASELINE
    grids: dict[str, list[tuple[dict[str, Any], Regularizer]]] = {}
    for index, item in enumerate(items):
        if PROTOCOL in item:
            written |= _protocol_values(item, where)
        elif set(item) == {AGAINST}:
            against = str(item[AGAINST])
        else:
            grid = list(_grid(item, path, f"arms.{name}.{index}"))
            if str(item["name"]) in grids:
                raise Refusal(f"{where}: {item['name']} is listed twice; expected each once")
            grids[str(item["name"])] = grid
    changes = multiplied(written, protocol, where)
    changed = overridden(protocol, changes, where) if changes else protocol
    trials = tuple(_trials(grids, changes, changed))
    moved = {key: value for key, value in changes.items() if value_of(protocol, key) != value}
    factor = Factor(regularizers=tuple(grids), protocol=moved)
    return Arm(name, factor, against, regularizers.test_rule(trials[0].regularizers), trials)


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


def mistakes(arms: Sequence[Arm], path: Path) -> Iterator[str]:
    """Yield an error line for each arm or setting that does not fit with the rest of its study.

    Args:
        arms: All arms of the study.
        path: The study's file, for the lines.
    """
    yield from _duplicates(arms, path)
    yield from _unknown_references(arms, path)
    yield from _mixed_rules(arms, path)


def _protocol_values(item: dict[str, Any], where: str) -> dict[str, Any]:
    values = item[PROTOCOL]
    if set(item) != {PROTOCOL} or not isinstance(values, dict) or not values:
        expected = "a mapping such as {protocol: {model.batch_norm: false}}"
        raise Refusal(invalid(where, item, expected))
    return values


def _grid(
    item: dict[str, Any], path: Path, where: str
) -> Iterator[tuple[dict[str, Any], Regularizer]]:
    """Yield every combination of the listed values of one regularizer, as written and resolved."""
    choices: dict[str, list[Any]] = {
        key: value if isinstance(value, list) else [value]
        for key, value in item.items()
        if key != "name"
    }
    empty = [key for key, choice in choices.items() if not choice]
    if empty:
        raise Refusal(invalid(f"{path}: {where}.{empty[0]}", [], "a list of length >= 1"))
    for combination in itertools.product(*choices.values()):
        values = dict(zip(choices, combination, strict=True))
        given = {"name": item.get("name"), **values}
        yield values, named(given, regularizers.settings(), path, where)


def _trials(
    grids: Mapping[str, list[tuple[dict[str, Any], Regularizer]]],
    changes: dict[str, Any],
    protocol: Protocol,
) -> Iterator[Trial]:
    """Yield every combination of the settings of all regularizers of an arm."""
    for combination in itertools.product(*grids.values()):
        setting = {name: values for name, (values, _) in zip(grids, combination, strict=True)}
        if changes:
            setting[PROTOCOL] = changes
        yield Trial(setting, tuple(regularizer for _, regularizer in combination), protocol)


def _duplicates(arms: Sequence[Arm], path: Path) -> Iterator[str]:
    """Yield a line for each setting that trains the same network as another, or that cannot act."""
    seen: dict[str, str] = {}
    for arm in arms:
        refused: dict[str, str] = {}  # why settings cannot act -> the first of them
        for trial in arm.trials:
            label = format_setting(trial.setting)
            where = f"arms.{arm.name} ({label})" if label else f"arms.{arm.name}"
            settings = trial.protocol.settings()
            try:
                effect = effects(trial.regularizers, trial.protocol.network_settings())
            except Refusal as refusal:
                for line in refusal.lines:
                    refused.setdefault(line, where)
                continue
            key = json.dumps([effect, settings])
            if key in seen:
                yield f"{path}: {where}: the same network as {seen[key]}; expected each once"
            seen.setdefault(key, where)
        yield from (f"{path}: {where}: {line}" for line, where in refused.items())


def _unknown_references(arms: Sequence[Arm], path: Path) -> Iterator[str]:
    """Yield a line for each arm compared with one that does not exist or has several settings."""
    fit = {arm.name for arm in arms if len(arm.trials) == 1}
    for arm in arms:
        if arm.against not in fit or arm.against == arm.name != BASELINE:
            others = sorted(fit - {arm.name})
            expected = f"{one_of(others)} (arms with one strength)"
            line = invalid(f"{path}: arms.{arm.name}.against", arm.against, expected)
            yield line + suggestion(arm.against, others)


def _mixed_rules(arms: Sequence[Arm], path: Path) -> Iterator[str]:
    """Yield a line for each arm whose settings are averaged differently at test."""
    for arm in arms:
        distinct = {regularizers.test_rule(trial.regularizers) for trial in arm.trials}
        rules = sorted(format_rule(rule) for rule in distinct)
        if len(rules) > 1:
            yield (
                f"{path}: arms.{arm.name}: strengths with the test rules {' and '.join(rules)}; "
                "expected one in each arm"
            )
