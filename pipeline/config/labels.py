"""Format settings, factors, test rules and runs as one line of text.

Every layer may print these labels; nothing reads them back. `reporting/labels.py` makes cells,
titles and ticks of them.
"""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.config.plan import BASELINE, PROTOCOL, Factor, PlannedRun, Setting
from pipeline.config.test_rules import TestRule

VIEWS = {  # ways of averaging over one network at test: the kind of its members, and its name
    "noise": "noise passes",
    "moments": "moments",
    "draws": "augmented views",
    "crops": "crops",
}


def format_setting(setting: Setting) -> str:
    """Return a setting as one line, as in `dropout(rate=0.25), model.batch_norm=false`.

    Args:
        setting: Values by part: regularizers, and `protocol`.
    """
    return ", ".join(setting_parts(setting))


def setting_parts(setting: Setting) -> list[str]:
    """Return the parts of a setting; a single regularizer is not named.

    Args:
        setting: Values by part: regularizers, and `protocol`.
    """
    regularizers = {name: values for name, values in setting.items() if name != PROTOCOL}
    if len(regularizers) == 1:
        (values,) = regularizers.values()
        parts = [format_values(values)]
    else:
        parts = [f"{name}({format_values(values)})" for name, values in regularizers.items()]
    return [part for part in [*parts, ", ".join(_changes(setting.get(PROTOCOL, {})))] if part]


def _changes(values: Mapping[str, Any]) -> list[str]:
    """Return changed protocol values; those of `start` as in `from similar`, `last 2 layers`."""
    is_last = values.get("start.train") == "last_k"
    parts = []
    for key, value in values.items():
        if key == "start.from":
            parts.append(f"from {'scratch' if value is None else format_value(value)}")
        elif key == "start.train":
            last = f"last {format_value(values.get('start.k', 'k'))} layers"
            parts.append(last if is_last else format_value(value).replace("_", " "))
        elif key != "start.k" or not is_last:
            parts.append(f"{key.removeprefix('start.')}={format_value(value)}")
    return parts


def format_values(values: Mapping[str, Any]) -> str:
    """Return values as in `rate=0.1, where=input`.

    Args:
        values: Values by key.
    """
    return ", ".join(f"{key}={format_value(value)}" for key, value in values.items())


def format_value(value: Any) -> str:
    """Return one value: a text as it is, named settings as in `adam(beta2=0.99)`, else JSON.

    A whole number has no decimals: 1.0 is 1.

    Args:
        value: A plain value.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, Mapping) and "name" in value:
        settings = {key: item for key, item in value.items() if key != "name"}
        return f"{value['name']}({format_values(settings)})" if settings else str(value["name"])
    return value if isinstance(value, str) else json.dumps(value)


def format_factor(factor: Factor, against: str = BASELINE) -> str:
    """Return what an arm changes against `against`, as in `dropout + data.train_size=100`.

    Args:
        factor: The changes of the arm.
        against: The name of its reference.
    """
    text = " + ".join([*factor.regularizers, *_changes(factor.protocol)])
    if against == BASELINE:
        return text or "nothing"
    return f"{text or 'less'}, against {against}"


def format_rule(rule: TestRule) -> str:
    """Return a test rule, as in `deterministic` or `noise_12`.

    Args:
        rule: The test rule of an arm.
    """
    return rule.view if rule.members == 1 else f"{rule.view}_{rule.members}"


def format_run(run: PlannedRun) -> str:
    """Return the label of a run: arm, setting, seed, and member, draw or budget if it has one.

    Args:
        run: A row of a plan.
    """
    parts = [run.arm, format_setting(run.setting), f"seed {run.seed}"]
    if run.member is not None:
        parts.append(f"member {run.member}")
    if run.stream is not None:
        parts.append(f"{run.stream} {run.draw}")
    if run.budget < 1:
        parts.append(f"{run.budget:.3g} of the schedule")
    return " ".join(part for part in parts if part)
