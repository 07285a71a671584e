"""Find arms and settings that do not fit with the rest of their study."""

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from pipeline import optimizers, regularizers
from pipeline.config.labels import format_rule, format_setting
from pipeline.config.plan import BASELINE, PROTOCOL
from pipeline.config.start import Start
from pipeline.config.validation import invalid, one_of, unknown_name
from pipeline.planning.arms import Arm, Trial
from pipeline.planning.effects import effects, model_effect, require_start, start_effect
from pipeline.planning.protocols import Protocol, value_of
from pipeline.planning.starts import phases
from pipeline.runtime.errors import Refusal


def mistakes(
    arms: Sequence[Arm], path: Path, is_tuned: bool = False, unread: Collection[str] = ()
) -> Iterator[str]:
    """Yield an error line for each arm or setting that does not fit with the rest of its study.

    Args:
        arms: The valid arms of the study.
        path: The study's file, for the lines.
        is_tuned: Whether the protocol has tuned values. These may make settings equal that were
            different as written.
        unread: The names of arms with errors of their own. A reference to one of them is no error.
    """
    yield from _duplicates(arms, path, is_tuned)
    yield from _unknown_references(arms, path, unread)
    yield from _mixed_rules(arms, path)


def network_key(trial: Trial) -> str:
    """Return a text that is equal for settings that train the same network.

    Args:
        trial: A setting of an arm, with its protocol.

    Raises:
        Refusal: A regularizer cannot act on the network.
    """
    protocol = trial.protocol
    optimizer = optimizers.parse(protocol.training.optimizer)
    one = _of_one_phase(protocol)
    settings = one.settings()
    settings["training"]["optimizer"] = optimizer.effect()
    acting = effects(trial.regularizers, protocol.network_settings())
    require_start(protocol)
    settings["start"] = start_effect(one)
    settings["model"] = model_effect(protocol.network_settings())
    if optimizer.decouples:
        acting = [
            [name, {**effect, "decoupled": True} if "decoupled" in effect else effect]
            for name, effect in acting
        ]
    return json.dumps([acting, settings])


def _of_one_phase(protocol: Protocol) -> Protocol:
    """Return the protocol, or only its first phase if head_then_all has no second phase."""
    start = Start.model_validate(protocol.start)
    first, last = phases(protocol, start)
    return first if start.train == "head_then_all" and first == last else protocol


def _duplicates(arms: Sequence[Arm], path: Path, is_tuned: bool) -> Iterator[str]:
    """Yield a line for each setting that trains the same network as another, or that cannot act.

    An arm that tunes nuisance values may have the baseline among its settings.
    """
    places: dict[str, str] = {}
    for arm in arms:
        refused: dict[str, tuple[str, str]] = {}  # key or reason -> the first such setting, reason
        same: list[str] = []
        for trial in arm.trials:
            label = format_setting(trial.setting)
            where = f"arms.{arm.name} ({label})" if label else f"arms.{arm.name}"
            try:
                key = network_key(trial)
            except Refusal as refusal:
                for line in refusal.lines:
                    refused.setdefault(line.partition(": invalid value ")[0], (where, line))
                continue
            first = places.setdefault(key, where)
            allowed = is_tuned or (arm.definition.nuisance and first == f"arms.{BASELINE}")
            if first != where and not allowed:
                is_baseline = first == f"arms.{BASELINE}"
                expected = "a change of the baseline" if is_baseline else "distinct settings"
                same.append(f"{path}: {where}: the same network as {first}; expected {expected}")
        cause = _unchanged(arm) if len(same) == len(arm.trials) else ""
        yield from [cause] if cause else same
        yield from (f"{path}: {where}: {line}" for where, line in refused.values())


def _unchanged(arm: Arm) -> str:
    """Return an error line if an arm sets a value that the protocol already has, otherwise ""."""
    protocol = arm.definition.protocol
    for key, value in arm.definition.fixed.get(PROTOCOL, {}).items():
        if (PROTOCOL, key) not in arm.definition.spaces and value_of(protocol, key) == value:
            where = arm.definition.places.place(key)
            other = f", as by -S {key}={json.dumps(not value)}" if isinstance(value, bool) else ""
            return invalid(where, value, f"another value than that of the protocol{other}")
    return ""


def _unknown_references(arms: Sequence[Arm], path: Path, unread: Collection[str]) -> Iterator[str]:
    """Yield a line for each arm compared with one that does not exist or has several settings."""
    allowed = {arm.name for arm in arms if not arm.has_own_space} | {*unread}
    names = {arm.name for arm in arms}
    for arm in arms:
        if arm.against not in allowed or arm.against == arm.name != BASELINE:
            others = sorted(allowed - {arm.name})
            where = f"{path}: arms.{arm.name}.against"
            if arm.against in names:
                expected = f"another arm with one setting, {one_of(others)}"
                yield invalid(where, arm.against, expected)
            else:
                yield unknown_name(where, arm.against, others)


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
