"""Tabulate the tried and the chosen settings of exploration, and whether each search was fair.

The scores of a choice are never a result, because the best of several settings looks better than it
is: results come from fresh seeds.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.explored import SEARCHES, TRIED
from pipeline.comparison.intervals import interval
from pipeline.config.labels import format_value
from pipeline.config.plan import BASELINE, TUNING, Dimension, Plan, PlannedArm, Setting
from pipeline.planning.choice import (
    DIGITS,
    Score,
    ScoredSetting,
    at_edge,
    best,
    collapsed,
    comparable,
    response,
)
from pipeline.records.runs import STATES

ACCURACY = "validation_accuracy"

Key = tuple[str, str]  # study, arm


def tried(plan: Plan, runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (study, arm, setting, budget), each arm's choice marked.

    Studies and arms are in the order of `runs`, settings in the order of their values on a scale.

    Args:
        plan: The exploration plan.
        runs: One row per run with study, arm, setting (a mapping), budget (the share of the whole
            schedule), seed, state, validation_accuracy and validation_nll, the last two under the
            arm's test rule, NaN for a run that is not done.

    Returns:
        A table with `TRIED`; only settings with whole schedules are chosen from; `fitted` is the
        validation accuracy on the response curve; NaN if there is none; `collapsed` says that a
        setting is far below the best of its arm; `scores` are the validation accuracies by seed in
        ascending order, None for a run that is not done; those at seeds that other settings lack
        are made comparable (`planning.choice.comparable`); `changes` are theirs against the
        reference at the same seeds, and `change` is the mean of those; a short schedule has none.
        The reference of the tuned baseline is its own chosen setting. An arm of which no setting
        has all its runs done has none marked.
    """
    ordered = _comparable(_by_value(plan, runs))
    keys = ordered["setting"].map(json.dumps)
    groups = ordered.groupby(["study", "arm", keys, "budget"], sort=False)
    table = pd.DataFrame([_summary(group) for _, group in groups], columns=list(TRIED))
    settings = [_setting_of(group) for _, group in groups]
    _mark_choices(table, settings, plan)
    _mark_collapses(table)
    _add_changes(table, plan)
    return table


def choice(table: pd.DataFrame) -> dict[str, dict[str, Setting | None]]:
    """Return study -> arm -> the setting that `tried` marked as chosen; None if there is none.

    Args:
        table: What `tried` returns.
    """
    choices: dict[str, dict[str, Setting | None]] = {}
    for study, arm, rows in _by_arm(table):
        if _is_chosen_for(study, arm):
            choices.setdefault(study, {})[arm] = _marked_setting(rows)
    return choices


def searches(plan: Plan, table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row on the fairness of each search, of the arms and of the tuned baseline.

    Args:
        plan: The exploration plan.
        table: What `tried` returns.
        runs: What `tried` was given.

    Returns:
        A table with `SEARCHES`: settings tried (`trials`), those of them with whole schedules,
        those before any widening, and seeds (counts), whether the space is an ordered range of
        numbers, whether the chosen value is at an end of what was tried (`edge`), whether that
        is where the field or its effect ends (`at_bound`), the value (`place`; of an edge, only
        what stands there), whether no other setting trains another network (`exhausted`), how often
        spaces were widened, and the gain in validation accuracy (fraction, with 95 % interval) over
        the reference on the exploration seeds; NaN if it was not explored.
    """
    arms = _arms(plan)
    first_trials = _first_trials(plan)
    rows = []
    for study, arm, settings in _by_arm(table):
        if not _is_chosen_for(study, arm):
            continue
        planned = arms[study, arm]
        arm_runs = runs[(runs["study"] == study) & (runs["arm"] == arm)]
        setting = _marked_setting(settings)
        trials = settings["setting"].map(json.dumps).nunique()
        row = {
            "study": study,
            "arm": arm,
            "trials": trials,
            "whole_trials": int((settings["budget"] == 1).sum()),
            "first_trials": trials if planned.search else first_trials[study, arm],
            "seeds": len(plan.first_seeds()),
            "chosen": setting is not None,
            "exhausted": bool(planned.space) and all(item.exhausted for item in planned.space),
            "widened": sum(dimension.widened for dimension in planned.space),
            **_edges(setting, arm_runs, planned),
            **_gain(setting, arm_runs, runs, _reference(table, study, planned)),
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=list(SEARCHES))


def _mark_choices(table: pd.DataFrame, settings: Sequence[ScoredSetting], plan: Plan) -> None:
    """Write `chosen` and `fitted` into the table, which has the rows of `settings`."""
    arms = _arms(plan)
    choices = []
    for study, arm, rows in _by_arm(table):
        if not _is_chosen_for(study, arm):
            continue
        space = arms[study, arm].space
        whole = list(rows.index[rows["budget"] == 1])
        number = best([settings[row] for row in whole], space)
        if number is not None:
            choices.append(whole[number])
        complete = [row for row in whole if settings[row].complete]
        curve = response([settings[row] for row in complete], space)
        if curve is not None:
            table.loc[complete, "fitted"] = np.where(np.isfinite(curve), curve, nan)
    table["chosen"] = table.index.isin(choices)


def _mark_collapses(table: pd.DataFrame) -> None:
    """Write `collapsed` into the rows of settings with whole schedules and a score."""
    for _, _, rows in _by_arm(table):
        means = rows.loc[rows["budget"] == 1, ACCURACY].dropna()
        if len(means):
            table.loc[means.index, "collapsed"] = collapsed(means.to_numpy(float))


def _add_changes(table: pd.DataFrame, plan: Plan) -> None:
    """Write `changes` and `change` into the rows of settings with whole schedules.

    No other schedule compares with the reference.
    """
    arms = _arms(plan)
    for study, arm, rows in _by_arm(table):
        reference = _shown_reference(table, study, arms[study, arm])
        if reference is None:
            continue
        whole = rows[rows["budget"] == 1]
        changes = [_changes(scores, reference["scores"]) for scores in whole["scores"]]
        table.loc[whole.index, "changes"] = pd.Series(changes, whole.index)
        table.loc[whole.index, "change"] = [_mean(each) for each in changes]


def _marked_setting(rows: pd.DataFrame) -> Setting | None:
    """Return the setting of an arm that is marked as chosen; None if there is none."""
    settings: pd.Series = rows.loc[rows["chosen"], "setting"]
    return None if settings.empty else settings.iloc[0]


def _is_chosen_for(study: str, arm: str) -> bool:
    """Return whether an arm has settings to choose from, unlike a baseline that is not tuned."""
    return arm != BASELINE or study == TUNING


def _by_arm(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield study, arm and rows of every arm."""
    for (study, arm), rows in table.groupby(["study", "arm"], sort=False):
        yield str(study), str(arm), rows


def _arms(plan: Plan) -> dict[Key, PlannedArm]:
    return {(study, arm.name): arm for study, arm in plan.arms()}


def _first_trials(plan: Plan) -> dict[Key, int]:
    """Return the number of settings of each arm in the first of its rounds."""
    settings: dict[Key, dict[int, set[str]]] = {}
    for run in plan.runs:
        rounds = settings.setdefault((run.study, run.arm), {})
        rounds.setdefault(run.round or 0, set()).add(json.dumps(run.setting))
    return {key: len(rounds[min(rounds)]) for key, rounds in settings.items()}


def _by_value(plan: Plan, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of each arm together, settings in the order of their values on a scale."""
    arms = _arms(plan)
    numbers: dict[Key, int] = {}

    def order(row: Mapping[str, Any]) -> tuple[Any, ...]:
        key = row["study"], row["arm"]
        scaled = [item for item in arms[key].space if item.scale is not None]
        values = [row["setting"][item.part][item.key] for item in scaled]
        return numbers.setdefault(key, len(numbers)), *values

    return pd.DataFrame(sorted(runs.to_dict("records"), key=order), columns=runs.columns)


def _comparable(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs with scores of complete settings that can be compared within their arm."""
    runs = runs.copy()
    for _, arm in runs[runs["budget"] == 1].groupby(["study", "arm"], sort=False):
        keys = arm["setting"].map(json.dumps)
        groups = [rows.sort_values("seed") for _, rows in arm.groupby(keys, sort=False)]
        complete = [rows for rows in groups if _setting_of(rows).complete]
        settings = [_setting_of(rows) for rows in complete]
        for rows, before, after in zip(complete, settings, comparable(settings), strict=True):
            if after.scores != before.scores:
                scores = [(score.accuracy, score.nll) for score in after.scores]
                runs.loc[rows.index, ["validation_accuracy", "validation_nll"]] = scores
    return runs


def _summary(group: pd.DataFrame) -> dict[str, Any]:
    done = group[group["state"] == "done"]
    accuracy = interval(done["validation_accuracy"].to_numpy(float))
    counts = Counter(group["state"])
    return {
        **group[["study", "arm", "setting", "budget"]].iloc[0],
        "n": accuracy.n,
        "validation_accuracy": round(accuracy.mean, DIGITS),
        "validation_accuracy_low": accuracy.low,
        "validation_accuracy_high": accuracy.high,
        "validation_nll": round(float(done["validation_nll"].mean()), DIGITS),
        "fitted": nan,
        "collapsed": False,
        "scores": _scores(group),
        "changes": [],
        "change": nan,
        **{state: counts[state] for state in STATES},
    }


def _scores(group: pd.DataFrame) -> list[float | None]:
    """Return the validation accuracy of every seed; None if its run is not done."""
    accuracies = group.sort_values("seed")["validation_accuracy"]
    return [None if np.isnan(value) else round(float(value), DIGITS) for value in accuracies]


def _shown_reference(table: pd.DataFrame, study: str, arm: PlannedArm) -> pd.Series | None:
    """Return the row with which the settings of an arm are compared; None if there is none."""
    if study != TUNING:
        return _reference(table, study, arm)
    chosen = table[(table["study"] == TUNING) & table["chosen"]]
    return None if chosen.empty else chosen.iloc[0]


def _changes(
    scores: Sequence[float | None], reference: Sequence[float | None]
) -> list[float | None]:
    """Return the differences of two lists of scores; None if either is unknown.

    One of them may have further seeds, which are left out.
    """
    return [
        None if one is None or other is None else round(one - other, DIGITS)
        for one, other in zip(scores, reference, strict=False)
    ]


def _mean(values: Sequence[float | None]) -> float:
    """Return the mean of the values that are not None; NaN if there are none."""
    numbers = [value for value in values if value is not None]
    return round(float(np.mean(numbers)), DIGITS) if numbers else nan


def _setting_of(group: pd.DataFrame) -> ScoredSetting:
    """Return a setting with its scores, from its runs."""
    columns = (group[name] for name in ("state", "validation_accuracy", "validation_nll"))
    return ScoredSetting(group["setting"].iloc[0], tuple(map(Score, *columns)))


def _edges(chosen: Setting | None, group: pd.DataFrame, arm: PlannedArm) -> dict[str, Any]:
    """Return whether chosen values are at an end of the tried values or at a bound."""
    keys = group["setting"].map(json.dumps)
    settings = [_setting_of(rows) for _, rows in group.groupby(keys, sort=False)]
    ends: dict[Dimension, int] = {}
    if chosen is not None:
        ends = {item: at_edge(chosen, settings, item) for item in arm.space}
    at_an_end = [item for item, end in ends.items() if end]
    can_widen = [item for item in at_an_end if not _is_bound(item, ends[item])]
    shown = can_widen or at_an_end or list(ends)
    place = [f"{item.key}={format_value(_value(chosen, item))}" for item in shown]
    return {
        "ordered": any(_is_ordered(settings, item) for item in arm.space),
        "edge": bool(at_an_end),
        "at_bound": bool(at_an_end) and not can_widen,
        "place": ", ".join(place),
    }


def _is_bound(item: Dimension, end: int) -> bool:
    """Return whether the field or its effect ends at the lower (-1) or upper end of a range."""
    return item.lowest if end < 0 else item.highest


def _is_ordered(settings: Sequence[ScoredSetting], item: Dimension) -> bool:
    return all(type(_value(each.setting, item)) in (int, float) for each in settings)


def _value(setting: Setting | None, item: Dimension) -> Any:
    return (setting or {})[item.part][item.key]


def _reference(table: pd.DataFrame, study: str, arm: PlannedArm) -> pd.Series | None:
    """Return the row of the reference setting of an arm; None if it was not explored."""
    if arm.name == arm.against:
        return None
    rows = table[(table["study"] == study) & (table["arm"] == arm.against)]
    chosen = rows if len(rows) == 1 else rows[rows["chosen"]]
    return None if chosen.empty else chosen.iloc[0]


def _gain(
    chosen: Setting | None, group: pd.DataFrame, runs: pd.DataFrame, reference: pd.Series | None
) -> Mapping[str, float]:
    """Return the gain of the chosen setting over its reference, paired by seed."""
    if chosen is None or reference is None:
        return {"gain": nan, "gain_low": nan, "gain_high": nan}
    others = runs[(runs["study"] == reference["study"]) & (runs["arm"] == reference["arm"])]
    differences = _by_seed(group, chosen) - _by_seed(others, reference["setting"])
    gain = interval(differences.dropna().to_numpy(float))
    return {"gain": round(gain.mean, DIGITS), "gain_low": gain.low, "gain_high": gain.high}


def _by_seed(runs: pd.DataFrame, setting: Setting) -> pd.Series:
    """Return the validation accuracy of a setting with a whole schedule, indexed by seed."""
    whole = runs[runs["budget"] == 1]
    is_of_setting = [item == setting for item in whole["setting"]]
    return whole[is_of_setting].set_index("seed")[ACCURACY]
