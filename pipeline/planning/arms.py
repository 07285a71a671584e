"""What an arm of a study says, made concrete: every strength it tries, with its regularizers and its protocol.

Separate from the studies that hold arms: this is the only place that knows how an arm is spelled.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import regularizers
from pipeline.config.plan import BASELINE, PLUS
from pipeline.planning.effects import effects
from pipeline.planning.protocols import Protocol, multiplied, value_of
from pipeline.planning.resolution import named, overridden
from pipeline.regularizers.base import Regularizer
from pipeline.runtime.errors import Refusal


@dataclass(frozen=True)
class Strength:
    """One concrete setting of an arm: its label, its regularizers and the protocol it trains under."""

    label: str
    regularizers: tuple[Regularizer, ...]
    protocol: Protocol


@dataclass(frozen=True)
class Arm:
    """Everything one arm tries. `factor` says what it changes against the arm it is compared `against`."""

    name: str
    factor: str
    against: str
    rule: str
    strengths: tuple[Strength, ...]


def read_arm(name: str, items: list[dict[str, Any]], protocol: Protocol, path: Path) -> Arm:
    """An arm from the list of what it switches on. Raises Refusal at the first mistake."""
    where = f"arms.{name}"
    if name == BASELINE:
        raise Refusal(
            f"{path}: {where}: the empty arm is part of every study; allowed is any other name"
        )
    if not items:
        raise Refusal(f"{path}: {where}: empty; allowed is a list of regularizers")
    written = {
        key: value
        for item in items
        if "protocol" in item
        for key, value in _override(item, path, where)
    }
    overrides = multiplied(written, protocol, f"{path}: {where}")
    against = [str(item["against"]) for item in items if set(item) == {"against"}]
    named = [
        (index, item)
        for index, item in enumerate(items)
        if "protocol" not in item and set(item) != {"against"}
    ]
    names = [item.get("name") for _, item in named]
    if len(set(map(str, names))) < len(names):
        raise Refusal(f"{path}: {where}: a regularizer is named twice; allowed is each once")
    changed = overridden(protocol, overrides, f"{path}: {where}") if overrides else protocol
    grids = [list(_grid(item, path, f"{where}.{index}")) for index, item in named]
    strengths = tuple(
        Strength(_label(parts, overrides), tuple(regularizer for regularizer, _ in parts), changed)
        for parts in itertools.product(*grids)
    )
    moved = {key: value for key, value in overrides.items() if value_of(protocol, key) != value}
    factor = PLUS.join(
        [*map(str, names), *(f"{key}={_text(value)}" for key, value in moved.items())]
    )
    return Arm(
        name,
        factor,
        (against or [BASELINE])[0],
        regularizers.test_rule(strengths[0].regularizers),
        strengths,
    )


def _override(item: dict[str, Any], path: Path, where: str) -> Iterator[tuple[str, Any]]:
    if set(item) != {"protocol"} or not isinstance(item["protocol"], dict) or not item["protocol"]:
        raise Refusal(
            f"{path}: {where}.protocol: allowed is a mapping such as {{model.batch_norm: false}}"
        )
    yield from item["protocol"].items()


Part = tuple[Regularizer, str]  # a regularizer, and the label of the values that were spelled out


def _grid(item: dict[str, Any], path: Path, where: str) -> Iterator[Part]:
    """Every combination of the listed strengths of one regularizer."""
    choices = {
        key: value if isinstance(value, list) and key != "name" else [value]
        for key, value in item.items()
    }
    empty = [key for key, value in choices.items() if not value]
    if empty:
        raise Refusal(
            f"{path}: {where}.{empty[0]}: an empty list; allowed is at least one strength"
        )
    for values in itertools.product(*choices.values()):
        given = dict(zip(choices, values, strict=True))
        label = ", ".join(f"{key}={_text(value)}" for key, value in given.items() if key != "name")
        yield named(given, regularizers.settings(), path, where), label


def _label(parts: tuple[Part, ...], overrides: dict[str, Any]) -> str:
    words = [label if len(parts) == 1 else f"{_name(item)}({label})" for item, label in parts]
    return ", ".join(
        [word for word in words if word]
        + [f"{key}={_text(value)}" for key, value in overrides.items()]
    )


def _name(regularizer: Regularizer) -> str:
    return regularizer.name


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def mistakes(arms: Sequence[Arm], path: Path) -> Iterator[str]:
    """What is wrong with the arms of a study beside each other, a line each."""
    yield from _repeated(arms, path)
    yield from _unfit(arms, path)
    yield from _mixed(arms, path)


def relative(arm: Arm, arms: Sequence[Arm]) -> Arm:
    """The arm with its factor told against the arm it is compared with: what both have is no difference."""
    if arm.against == BASELINE:
        return arm
    shared = next(other.factor for other in arms if other.name == arm.against).split(PLUS)
    own = [part for part in arm.factor.split(PLUS) if part not in shared]
    return replace(arm, factor=f"{PLUS.join(own) or 'less'}, against {arm.against}")


def _repeated(arms: Sequence[Arm], path: Path) -> Iterator[str]:
    """Arms or strengths that would train the same network twice under two names, or one that cannot be."""
    seen: dict[str, str] = {}
    for arm in arms:
        for strength in arm.strengths:
            where = f"arms.{arm.name}" + f" ({strength.label})" * bool(strength.label)
            settings = strength.protocol.settings()
            try:
                effect = effects(
                    strength.regularizers, settings | {"source": strength.protocol.source}
                )
            except Refusal as refusal:
                yield from (f"{path}: {where}: {line}" for line in refusal.lines)
                continue
            key = json.dumps([effect, settings])
            if key in seen:
                yield f"{path}: {where}: the same network as {seen[key]}; allowed is each once"
            seen.setdefault(key, where)


def _unfit(arms: Sequence[Arm], path: Path) -> Iterator[str]:
    """Arms compared against one that is not there, or that has strengths to choose from."""
    fit = {arm.name for arm in arms if len(arm.strengths) == 1}
    for arm in arms:
        if arm.against not in fit or arm.against == arm.name != BASELINE:
            others = ", ".join(sorted(fit - {arm.name}))
            yield f"{path}: arms.{arm.name}.against: {arm.against!r} is refused; allowed are arms with one strength: {others}"


def _mixed(arms: Sequence[Arm], path: Path) -> Iterator[str]:
    """Arms whose strengths are averaged differently at test."""
    for arm in arms:
        rules = sorted(
            {regularizers.test_rule(strength.regularizers) for strength in arm.strengths}
        )
        if len(rules) > 1:
            yield f"{path}: arms.{arm.name}: strengths with the test rules {' and '.join(rules)}; allowed is one in each arm"
