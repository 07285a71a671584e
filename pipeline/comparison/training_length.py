"""Find out whether arms were trained for long enough.

Two signs say so: what an arm gains that another arm trains for longer, and how much validation
accuracy still rises at the end of training.
"""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import numpy as np

from pipeline.comparison.curves import Histories
from pipeline.comparison.matching import Arm, compared
from pipeline.config.plan import PROTOCOL, Plan, PlannedRun, Setting

EPOCHS = "training.epochs"
TIMES = 2  # a longer training has at least this many times as many epochs
LAST = 2 / 3  # share of the epochs before the last third of training

Key = tuple[str, str]  # study, arm


def longer_arms(plan: Plan) -> dict[Key, Key]:
    """Return the arms that are their reference with at least twice as many epochs.

    Protocol values that are tuned may differ as well.

    Args:
        plan: The confirmation plan.

    Returns:
        Study and arm -> study and arm of the reference, as `first_references` names it.
    """
    longer = {}
    references = first_references(plan)
    for arm in compared(plan):
        reference, run = (_first_run(side) for side in arm.pair())
        if reference and run and _is_longer(plan, reference, run):
            longer[arm.key] = references[arm.key]
    return longer


def first_references(plan: Plan) -> dict[Key, Key]:
    """Return the reference of every arm, both as study and arm.

    If arms of several studies have the same runs, the first one stands for all. A reference
    without runs is left out.

    Args:
        plan: The confirmation plan.
    """
    first = _first_arms(plan)
    runs = {arm.key: _first_run(arm.pair()[0]) for arm in compared(plan)}
    return {key: first[run.fingerprint] for key, run in runs.items() if run}


def last_changes(plan: Plan, histories: Histories) -> dict[Key, dict[int, float]]:
    """Return the change of validation accuracy over the last third of training, by arm and seed.

    Args:
        plan: The confirmation plan.
        histories: The learning curves of the runs that are compared and done.

    Returns:
        Study and arm -> seed -> change, a fraction; NaN where a curve has no two points. If arms
        have the same runs, only the first one is there.
    """
    first = _first_arms(plan)
    changes: dict[Key, dict[int, float]] = {}
    for run in plan.runs_of("comparison"):
        key = run.study, run.arm
        if run.fingerprint in histories and first[run.fingerprint] == key:
            changes.setdefault(key, {})[run.seed] = _last_change(histories[run.fingerprint])
    return changes


def _first_arms(plan: Plan) -> dict[str, Key]:
    """Return the first arm of a comparison that has each run, by fingerprint."""
    arms: dict[str, Key] = {}
    for run in plan.runs_of("comparison"):
        arms.setdefault(run.fingerprint, (run.study, run.arm))
    return arms


def _first_run(arm: Arm) -> PlannedRun | None:
    return next(iter(arm.runs.values()), None)


def _is_longer(plan: Plan, reference: PlannedRun, run: PlannedRun) -> bool:
    epochs, more_epochs = _epochs(plan, reference), _epochs(plan, run)
    others = [_without_epochs(plan, one.setting) for one in (reference, run)]
    return more_epochs >= TIMES * epochs and others[0] == others[1]


def _epochs(plan: Plan, run: PlannedRun) -> int:
    usual: int = plan.settings["training"]["epochs"]
    return int(run.setting.get(PROTOCOL, {}).get(EPOCHS, usual))


def _without_epochs(plan: Plan, setting: Setting) -> Mapping[str, Any]:
    """Return a setting without its epochs and without the values that are tuned."""
    left_out = {EPOCHS, *plan.tuned}
    changes = setting.get(PROTOCOL, {})
    kept = {key: value for key, value in changes.items() if key not in left_out}
    return {**setting, PROTOCOL: kept}


def _last_change(history: Sequence[Mapping[str, Any]]) -> float:
    """Return the change of validation accuracy over the last third of training, interpolated.

    It is NaN where the curve has no two points.
    """
    points = [(row["epoch"], row["accuracy"]) for row in history if row["split"] == "validation"]
    if len(points) < 2:
        return nan
    epochs, accuracies = np.array(points, dtype=float).T
    return float(accuracies[-1] - np.interp(LAST * epochs[-1], epochs, accuracies))
