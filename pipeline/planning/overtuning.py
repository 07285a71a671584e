"""Plan a study of overtuning: the chosen setting of an arm, its default and its first setting.

A search may choose a setting that is worse than the default, because it scored well on validation
by chance: Schneider, Bischl and Feurer, Overtuning in Hyperparameter Optimization, arXiv
2506.19540, 2025. All are trained on the seeds of confirmation, which no choice has used.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pipeline import regularizers
from pipeline.config.plan import BASELINE, OVERTUNING, PROTOCOL, Setting
from pipeline.planning.arms import Arm, Trial, baseline
from pipeline.planning.protocols import value_of
from pipeline.planning.spaces import Space
from pipeline.planning.studies import Experiment, Study

DEFAULT, FIRST = "default", "first"


def overtuning_study(
    experiment: Experiment, choice: Mapping[str, Mapping[str, Setting | None]]
) -> Study | None:
    """Return a study of every arm that has its default among its settings.

    Args:
        experiment: The protocol with its studies.
        choice: Study -> arm -> chosen setting; None if every setting has lost a run.

    Returns:
        The baseline, and for each such arm its chosen setting, and its default and first setting
        with the chosen one as their reference; None without any such arm.
    """
    arms = [baseline(experiment.protocol)]
    studies = [study for study in experiment.studies if study.kind != "search"]  # none is chosen
    counts = Counter(arm.name for study in studies for arm in study.arms)
    for study in studies:
        for arm in study.arms:
            setting = choice.get(study.name, {}).get(arm.name)
            if setting is not None and arm.has_own_space:
                name = arm.name if counts[arm.name] == 1 else f"{arm.name} of {study.name}"
                arms += _compared(name, arm, setting)
    if len(arms) == 1:
        return None
    question = "Is a chosen setting better than the default?"
    return Study(OVERTUNING, question, tuple(arms), "overtuning")


def most_compared(arm: Arm) -> Setting:
    """Return the setting of an arm that needs the most confirmation runs if it is chosen.

    Args:
        arm: The arm.
    """
    default = _default(arm, arm.trials[0].setting)
    others = [arm.trials[0].setting] + ([default.setting] if default else [])
    settings = [trial.setting for trial in arm.trials]
    return next((setting for setting in settings if setting not in others), settings[0])


def _compared(name: str, arm: Arm, setting: Setting) -> Iterator[Arm]:
    """Yield an arm with its chosen setting, then with other settings; nothing without a default."""
    default = _default(arm, setting)
    if default is None:
        return
    others = {DEFAULT: default, FIRST: arm.trials[0]}
    if default.setting == setting:
        del others[DEFAULT]
    if arm.trials[0].setting in (setting, default.setting):
        del others[FIRST]
    if not others:
        return
    yield replace(arm, name=name, against=BASELINE, trials=(arm.trial_of(setting),))
    for kind, trial in others.items():
        yield replace(arm, name=f"{name}, {kind}", against=name, trials=(trial,))


def _default(arm: Arm, chosen: Setting) -> Trial | None:
    """Return the setting of an arm with the default of every searched value; None without one.

    The default of a regularizer's value is the default of its class. The default of a protocol
    value is the protocol's value, but not if the arm changes another protocol value: a learning
    rate for one optimizer is no default for another. Widening may have added a default: then it is
    between the space as written and the chosen value.
    """
    searched = {key for part, key in arm.definition.spaces if part == PROTOCOL}
    if searched and not searched.issuperset(arm.definition.fixed.get(PROTOCOL, {})):
        return None
    defaults = {place: _default_value(arm, *place) for place in arm.definition.spaces}
    for trial in arm.trials:
        if all(trial.setting[part][key] == value for (part, key), value in defaults.items()):
            return trial
    for (part, key), value in defaults.items():
        if value not in _reached(arm.definition.spaces[part, key], chosen[part][key]):
            return None
    return arm.definition.trial(list(defaults.values()))


def _reached(space: Space, chosen: Any) -> list[Any]:
    """Return the values of a space, and those that widening added before it reached `chosen`."""
    values = list(space.values)
    for end in (-1, 1):
        widened = space
        while values and widened.extend and (value := widened.beyond(end)) is not None:
            if end * (value - chosen) > 0:
                break
            values.append(value)
            widened = widened.with_value(value)
    return values


def _default_value(arm: Arm, part: str, key: str) -> Any:
    if part == PROTOCOL:
        return value_of(arm.definition.protocol, key)
    return regularizers.settings()[part].model_fields[key].default
