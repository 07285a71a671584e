"""Format verdicts, settings, factors and test rules as cells, titles and ticks.

They are made of the plain labels of `config/labels.py`, which planning, execution and tracking also
use, and which contain nothing of Markdown or of an axis.
"""

import json
import textwrap
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.comparison.levels import AVERAGED, ENSEMBLE
from pipeline.config.labels import VIEWS, format_factor, format_rule, format_setting, format_value
from pipeline.config.plan import BASELINE, PROTOCOL, Dimension, Factor, PlannedArm, Setting
from pipeline.config.scales import Scale, position
from pipeline.config.test_rules import DETERMINISTIC, TestRule
from pipeline.reporting.markdown import VOID, escape, format_count

WIDEST = 50  # letters of all ticks of an axis
SIZE_ALONE = ("data.train_size", "training.epochs")  # what changes with the training-set size
VARIED = "…"
PLACED = "setting, in the order of strengths.csv"
WHOLE: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
WIDE = 20  # ratio of the ends of a list from which its numbers are shown on a log scale


def verdict_label(row: Mapping[str, Any]) -> str:
    """Return the verdict of a contrast: helps, or helps, below the margin."""
    return f"{row['verdict']}, below the margin" if row["below_margin"] else row["verdict"]


def verdict_cell(row: Mapping[str, Any]) -> str:
    """Return the verdict of a contrast with the runs of the arm that were lost, if any were.

    A withheld verdict has the lost runs of the reference, too. Tables of older reports may have
    neither.
    """
    withheld = row.get("withheld", False)
    if "ended" not in row or not (withheld or row["lost"]):
        return verdict_label(row)
    cell = f"{verdict_label(row)}; {row['lost']} of {row['ended']} lost"
    other = f", reference {row['reference_lost']} of {row['reference_ended']}"
    return f"{cell}{other}" if withheld else cell


def lost_words(row: Mapping[str, Any], reference: str) -> str:
    """Return the numbers of lost runs of an arm and its reference, to explain a withheld verdict.

    The numbers at the seeds where both ended follow, if the numbers of all runs do not show which
    of the two lost more there.

    Args:
        row: A contrast with the columns `LOST_RUNS`.
        reference: What the reference is called.
    """
    words = (
        f"it lost {row['lost']} of {row['ended']} runs, its {reference} {row['reference_lost']} of "
        f"{row['reference_ended']}"
    )
    alone, other = row["lost_alone"], row["reference_lost_alone"]
    if alone == other or (alone > other) == (row["lost"] > row["reference_lost"]):
        return words
    return (
        f"{words}; of the {row['both_ended']} seeds where both runs ended, only its run is lost at "
        f"{alone}, and only that of its {reference} at {other}"
    )


def setting_cell(setting: Setting) -> str:
    """Return a setting as a cell of a table."""
    return escape(format_setting(setting)) or VOID


def named_setting(arm: str, setting: Setting) -> str:
    """Return a setting as text, with the name of a single regularizer if the arm has another."""
    regularizers = [part for part in setting if part != PROTOCOL]
    label = escape(format_setting(setting))
    if len(regularizers) != 1 or regularizers[0] == arm:
        return label
    return f"{regularizers[0]}, {label}" if label else regularizers[0]


def distinguishing_settings(settings: Sequence[Setting]) -> list[str]:
    """Return the values of every arm in which it differs from an arm with the same regularizers.

    The name of such an arm does not always give its value. The text is empty for an arm that
    differs from all others in more than values, and for one that changes values of the protocol.
    """
    groups: dict[Any, list[Setting]] = {}
    for setting in settings:
        groups.setdefault(tuple(_flattened(setting)), []).append(setting)
    texts = []
    for setting in settings:
        alike = groups[tuple(_flattened(setting))]
        varied = _varied_keys([_flattened(one) for one in alike])
        values = [f"{key}={format_value(setting[part][key])}" for part, key in varied]
        texts.append("" if PROTOCOL in setting else escape(", ".join(values)))
    return texts


def arm_title(name: str, setting: Setting) -> str:
    """Return an arm with its setting: dropout (rate=0.5)."""
    label = format_setting(setting)
    return f"{name} ({label})" if label else name


def factor_label(arm: PlannedArm) -> str:
    """Return the changes of an arm, with its name if this says something else."""
    label = format_factor(arm.factor, arm.against)
    return arm.name if label == arm.name else f"{escape(label)} (arm {arm.name})"


def efficiency_name(row: Mapping[str, Any]) -> str:
    """Return the name of a row of the table `efficiency`: 8 augmented views of shift."""
    if row["kind"] == ENSEMBLE:
        return f"ensemble ({row['name']})"
    if row["kind"] != AVERAGED or row["view"] == DETERMINISTIC.view:
        suffix = ", one pass" if row["kind"] == AVERAGED else ""
        return f"{row['name']}{suffix}"
    if row["members"] == 1:
        return f"{row['view']} of {row['name']}"
    return f"{row['members']} {VIEWS.get(row['view'], row['view'])} of {row['name']}"


def rule_label(rule: TestRule) -> str:
    """Return a test rule with its cost: noise_12 (12 forward passes)."""
    return f"{format_rule(rule)} ({format_count(rule.members, 'forward pass', 'es')})"


def canonical(value: Any) -> str:
    """Return a setting or another structured value as text: equal for equal values, never read."""
    return json.dumps(value, sort_keys=True)


def without_size(
    factor: Factor, setting: Setting, tuned: Collection[str] = ()
) -> tuple[Factor, Setting]:
    """Return a factor and a setting without the training-set size, its epochs and tuned values.

    Args:
        factor: What an arm changes.
        setting: The values that it chose.
        tuned: The dotted keys of the protocol values that arms tune.
    """
    protocol = _other_values(factor.protocol, tuned)
    parts = {**setting, PROTOCOL: _other_values(setting.get(PROTOCOL, {}), tuned)}
    if not parts[PROTOCOL]:
        del parts[PROTOCOL]
    return Factor(regularizers=factor.regularizers, protocol=protocol), parts


def _other_values(protocol: Mapping[str, Any], tuned: Collection[str]) -> dict[str, Any]:
    left_out = {*SIZE_ALONE, *tuned}
    return {key: value for key, value in protocol.items() if key not in left_out}


def series_labels(series: Sequence[tuple[Factor, Setting]]) -> list[str]:
    """Return the factor of every series, with its setting where another has the same factor."""
    factors = [BASELINE if factor == Factor() else format_factor(factor) for factor, _ in series]
    counts = Counter(factors)
    return [
        arm_title(factor, setting) if counts[factor] > 1 else factor
        for factor, (_, setting) in zip(factors, series, strict=True)
    ]


def setting_ticks(settings: Sequence[Setting]) -> tuple[list[str], str]:
    """Return the labels of an axis of settings, and its name with the values that all share.

    Settings are numbered in the order of their table, `strengths.csv`, if the labels are too long
    or the keys differ.
    """
    numbered = [str(number) for number in range(1, len(settings) + 1)]
    flat = [_flattened(setting) for setting in settings]
    has_other_keys = any(list(values) != list(flat[0]) for values in flat)
    if has_other_keys:
        return numbered, PLACED
    varied = _varied_keys(flat)
    ticks = [", ".join(format_value(values[key]) for key in varied) for values in flat]
    if sum(len(tick) + 2 for tick in ticks) > WIDEST:
        return numbered, PLACED
    name = f"setting: {format_setting(_shared_values(settings[0], varied))}"
    return ticks, "\n".join(textwrap.wrap(name, WIDEST))


def _varied_keys(flat: Sequence[Mapping[tuple[str, str], Any]]) -> list[tuple[str, str]]:
    """Return the keys whose values are not the same in all settings."""
    varied = []
    for key in flat[0]:
        different = {json.dumps(values[key]) for values in flat}
        if len(different) > 1:
            varied.append(key)
    return varied


def _shared_values(setting: Setting, varied: Collection[tuple[str, str]]) -> Setting:
    """Return a setting with an ellipsis in place of each varied value."""
    shared: dict[str, dict[str, Any]] = {}
    for part, values in setting.items():
        shared[part] = {}
        for key, value in values.items():
            shared[part][key] = VARIED if (part, key) in varied else value
    return shared


@dataclass(frozen=True)
class SettingAxis:
    """An axis of settings.

    Attributes:
        places: The place of each setting.
        ticks: The label of each.
        name: The name of the axis.
        is_scale: Whether places are numbers on a scale, not ranks.
    """

    places: list[float]
    ticks: list[str]
    name: str
    is_scale: bool


def setting_axis(
    settings: Sequence[Setting], space: Sequence[Dimension], width: int = WIDEST, most: int = 2
) -> SettingAxis:
    """Return the axis of the settings of an arm: by value for one number, otherwise by rank.

    Args:
        settings: The settings.
        space: The values that the arm searches.
        width: The letters of a line of the name. Values that all settings share are added to the
            name where `most` lines hold them.
        most: The lines of the name with these values, at most.
    """
    values = [setting[space[0].part][space[0].key] for setting in settings] if space else []
    if len(space) != 1 or not all(type(value) in (int, float) for value in values):
        ticks, name = setting_ticks(settings)
        return SettingAxis([float(place) for place in range(len(settings))], ticks, name, False)
    (dimension,) = space
    scale = dimension.scale or _scale_of(values)
    places = [position(scale, value) for value in values]
    ticks = [_tick(value) for value in values]
    name = _axis_title(dimension, _without_dimension(settings[0], dimension), width, most)
    return SettingAxis(places, ticks, name, True)


def _without_dimension(setting: Setting, dimension: Dimension) -> Setting:
    """Return the values of a setting without the value of a dimension."""
    others = {}
    for part, values in setting.items():
        remaining = dict(values)
        if part == dimension.part:
            remaining.pop(dimension.key, None)
        if remaining:
            others[part] = remaining
    return others


def _axis_title(dimension: Dimension, shared: Setting, width: int, most: int) -> str:
    """Return the name of an axis, with the values that all settings share where they fit."""
    name = axis_name(dimension)
    if shared:
        with_shared = f"{name} ({format_setting(shared)})"
        lines = textwrap.wrap(with_shared, width, **WHOLE)
        if len(lines) <= most and all(len(line) <= width for line in lines):
            return "\n".join(lines)
    return "\n".join(textwrap.wrap(name, width, **WHOLE))


def _tick(value: float) -> str:
    """Return a number on an axis: 2.0 is written as 2, since neighbors may be whole numbers."""
    return format_value(int(value) if value == int(value) else value)


def _scale_of(values: Sequence[float]) -> Scale:
    """Return the scale of a list of numbers: log for positive ones of different magnitude."""
    return "log" if min(values) > 0 and max(values) > WIDE * min(values) else "uniform"


def _place(item: Dimension) -> tuple[str, str]:
    return item.part, item.key


def axis_name(item: Dimension) -> str:
    """Return a value in words: dropout rate, or learning rate for one of the protocol."""
    words = item.key.rpartition(".")[2] if item.part == PROTOCOL else f"{item.part} {item.key}"
    return words.replace("_", " ")


def _flattened(setting: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], Any]:
    """Return the values of a setting by (regularizer, key)."""
    return {(part, key): value for part in setting for key, value in setting[part].items()}
