"""Name the arms that a value of `params.yaml`, or of `-S`, does not reach."""

from collections.abc import Sequence

from pipeline.config.parameters import PARAMETERS
from pipeline.config.plan import PROTOCOL
from pipeline.planning.arms import Arm
from pipeline.planning.protocols import factor_of, is_replaced
from pipeline.planning.studies import Experiment


def unreached_notes(experiment: Experiment) -> list[str]:
    """Return a line for each overridden value that arms replace by one of their own.

    A factor, such as x2, multiplies the overridden value, so that one does reach the arm.

    Args:
        experiment: The protocol with its overrides, and its studies.
    """
    keys_of_arms = {}
    for study in experiment.studies:
        for arm in study.arms:
            keys_of_arms[f"{study.name}.{arm.name}"] = _given_keys(arm)
    notes = []
    for key in experiment.overridden:
        names = [name for name, keys in keys_of_arms.items() if _replaces(keys, key)]
        what = "another value" if len(names) == 1 else "other values"
        if names:
            notes.append(f"{key} of {PARAMETERS} does not reach {', '.join(names)}, with {what}")
    return notes


def _replaces(keys: Sequence[str], override_protocol: str) -> bool:
    """Return whether one of the keys of an arm replaces an overridden one."""
    return any(is_replaced(override_protocol, [key]) for key in keys)


def _given_keys(arm: Arm) -> list[str]:
    """Return the keys of the protocol that an arm gives a value or a space."""
    values = arm.definition.fixed.get(PROTOCOL, {})
    return [
        key
        for key, value in values.items()
        if key not in arm.definition.nuisance and factor_of(value) is None
    ]
