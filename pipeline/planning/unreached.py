"""Name the arms that a value of `params.yaml`, or of `-S`, does not reach."""

from pipeline.config.parameters import PARAMETERS
from pipeline.config.plan import PROTOCOL
from pipeline.planning.arms import Arm
from pipeline.planning.protocols import factor_of, is_replaced
from pipeline.planning.studies import Experiment


def unreached_notes(experiment: Experiment) -> list[str]:
    """Return a line for each overridden value that arms replace by one of their own.

    A factor, such as x2, multiplies the overridden value, so that one does reach the arm.
    """
    arms = [
        (f"{study.name}.{arm.name}", _own_keys(arm))
        for study in experiment.studies
        for arm in study.arms
    ]
    notes = []
    for key in experiment.overridden:
        names = [name for name, values in arms if any(is_replaced(key, [one]) for one in values)]
        words = "its own value" if len(names) == 1 else "values of their own"
        if names:
            notes.append(f"{key} of {PARAMETERS} does not reach {', '.join(names)}, with {words}")
    return notes


def _own_keys(arm: Arm) -> list[str]:
    """Return the keys of the protocol that an arm gives a value or a space."""
    values = arm.written.fixed.get(PROTOCOL, {})
    return [
        key
        for key, value in values.items()
        if key not in arm.written.nuisance and factor_of(value) is None
    ]
