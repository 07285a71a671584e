"""Tabulate what exploration tried, what was chosen, and whether each search was a fair one.

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
    Tried,
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

    Studies and arms are in the order of `runs`, settings in that of their values on a scale.

    Args:
        plan: The exploration plan.
        runs: One row per run with study, arm, setting (a mapping), budget (the share of the whole
            schedule), seed, state, validation_accuracy and validation_nll, the last two under the
            arm's test rule, NaN for a run that is not done.

    Returns:
        A table with `TRIED`; only settings with whole schedules are chosen from; `fitted` is the
        validation accuracy on the response curve, NaN where there is none; `collapsed` says that a
        setting is far below the best of its arm; `scores` are the validation accuracies by seed in
        ascending order, None for a run that is not done; those at seeds that other settings lack
        are made comparable (`planning.choice.comparable`); `changes` are theirs against the
        reference at the same seeds, and `change` is the mean of those; a short schedule has none.
        The reference of the tuned baseline is its own chosen setting. An arm of which no setting
        has all its runs done has none marked.
    """
    ordered = _comparable(_by_value(plan, runs))
    keys = ordered["setting"].map(json.dumps)
    groups = list(ordered.groupby(["study", "arm", keys, "budget"], sort=False))
    table = pd.DataFrame([_summary(group) for _, group in groups], columns=list(TRIED))
    settings = [_tried(group) for _, group in groups]
    marked = []
    for study, arm, rows in _by_arm(table):
        if not _is_chosen_for(study, arm):
            continue
        space = _arms(plan)[study, arm].space
        items = {row: settings[row] for row in rows.index[rows["budget"] == 1]}
        number = best(list(items.values()), space)
        marked += [] if number is None else [list(items)[number]]
        complete = {row: item for row, item in items.items() if item.complete}
        curve = response(list(complete.values()), space)
        if curve is not None:
            table.loc[list(complete), "fitted"] = np.where(np.isfinite(curve), curve, nan)
    table["chosen"] = table.index.isin(marked)
    for study, arm, rows in _by_arm(table):
        means = rows.loc[rows["budget"] == 1, ACCURACY].dropna()
        if len(means):
            table.loc[means.index, "collapsed"] = collapsed(means.to_numpy(float))
        reference = _shown_reference(table, study, _arms(plan)[study, arm])
        if reference is not None:
            whole = rows[rows["budget"] == 1]  # no other schedule compares with the reference
            of_rows = [_changes(scores, reference["scores"]) for scores in whole["scores"]]
            table.loc[whole.index, "changes"] = pd.Series(of_rows, whole.index)
            table.loc[whole.index, "change"] = [_known_mean(changes) for changes in of_rows]
    return table


def choice(table: pd.DataFrame) -> dict[str, dict[str, Setting | None]]:
    """Return study -> arm -> the setting that `tried` marked, None if none is."""
    picked: dict[str, dict[str, Setting | None]] = {}
    for study, arm, rows in _by_arm(table):
        if _is_chosen_for(study, arm):
            marked = rows.loc[rows["chosen"], "setting"]
            picked.setdefault(study, {})[arm] = None if marked.empty else marked.iloc[0]
    return picked


def searches(plan: Plan, table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each searched arm and for the tuned baseline: was it a fair search?

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
        the reference on the exploration seeds, NaN where it was not explored.
    """
    rows = []
    first = _first_trials(plan)
    for study, arm, settings in _by_arm(table):
        if not _is_chosen_for(study, arm):
            continue
        planned = _arms(plan)[study, arm]
        group = runs[(runs["study"] == study) & (runs["arm"] == arm)]
        marked = settings.loc[settings["chosen"], "setting"]
        chosen = None if marked.empty else marked.iloc[0]
        counts = {"trials": settings["setting"].map(json.dumps).nunique()}
        counts["whole_trials"] = int((settings["budget"] == 1).sum())
        counts["first_trials"] = counts["trials"] if planned.search else first[study, arm]
        counts["seeds"] = len(plan.first_seeds())
        row = {"study": study, "arm": arm, **counts, "chosen": chosen is not None}
        row["exhausted"] = bool(planned.space) and all(item.exhausted for item in planned.space)
        widened = sum(dimension.widened for dimension in planned.space)
        edges = _edges(chosen, group, planned)
        gain = _gain(chosen, group, runs, _reference(table, study, planned))
        rows.append({**row, **edges, "widened": widened, **gain})
    return pd.DataFrame(rows, columns=list(SEARCHES))


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
        settings = [
            rows.sort_values("seed")
            for _, rows in arm.groupby(arm["setting"].map(json.dumps), sort=False)
        ]
        complete = [(rows, item) for rows in settings if (item := _tried(rows)).complete]
        shifted = comparable([item for _, item in complete])
        for (rows, before), item in zip(complete, shifted, strict=True):
            if item.scores == before.scores:
                continue
            scores = [(score.accuracy, score.nll) for score in item.scores]
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
    """Return the validation accuracy of every seed, None where its run is not done."""
    accuracies = group.sort_values("seed")["validation_accuracy"]
    return [None if np.isnan(value) else round(float(value), DIGITS) for value in accuracies]


def _shown_reference(table: pd.DataFrame, study: str, arm: PlannedArm) -> pd.Series | None:
    """Return the row that the settings of an arm are shown against, None if there is none."""
    if study != TUNING:
        return _reference(table, study, arm)
    chosen = table[(table["study"] == TUNING) & table["chosen"]]
    return None if chosen.empty else chosen.iloc[0]


def _changes(
    scores: Sequence[float | None], reference: Sequence[float | None]
) -> list[float | None]:
    """Return the differences of two lists of scores, None where one of both is unknown.

    One of them may have further seeds, which are left out.
    """
    return [
        None if one is None or other is None else round(one - other, DIGITS)
        for one, other in zip(scores, reference, strict=False)
    ]


def _known_mean(values: Sequence[float | None]) -> float:
    scored = [value for value in values if value is not None]
    return round(float(np.mean(scored)), DIGITS) if scored else nan


def _tried(group: pd.DataFrame) -> Tried:
    """Return a setting with its scores, from its runs."""
    columns = (group[name] for name in ("state", "validation_accuracy", "validation_nll"))
    return Tried(group["setting"].iloc[0], tuple(map(Score, *columns)))


def _edges(chosen: Setting | None, group: pd.DataFrame, arm: PlannedArm) -> dict[str, Any]:
    """Return at which ends of what was tried the chosen values stand."""
    keys = group["setting"].map(json.dumps)
    tried = [_tried(rows) for _, rows in group.groupby(keys, sort=False)]
    ends: dict[Dimension, int] = {}
    if chosen is not None:
        ends = {item: at_edge(chosen, tried, item) for item in arm.space}
    inside = {item: end for item, end in ends.items() if end}
    bound = {item: item.lowest if end < 0 else item.highest for item, end in inside.items()}
    free = [item for item, at_bound in bound.items() if not at_bound]
    named = free or list(inside) or list(ends)
    place = [f"{item.key}={format_value(_value(chosen, item))}" for item in named]
    return {
        "ordered": any(_is_ordered(tried, item) for item in arm.space),
        "edge": bool(inside),
        "at_bound": bool(inside) and not free,
        "place": ", ".join(place),
    }


def _is_ordered(tried: list[Tried], item: Dimension) -> bool:
    return all(type(_value(each.setting, item)) in (int, float) for each in tried)


def _value(setting: Setting | None, item: Dimension) -> Any:
    return (setting or {})[item.part][item.key]


def _reference(table: pd.DataFrame, study: str, arm: PlannedArm) -> pd.Series | None:
    """Return the row of the setting that an arm is compared with, None if it was not explored."""
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
    scores = [
        frame[[setting == wanted for setting in frame["setting"]]].set_index("seed")[ACCURACY]
        for frame, wanted in (
            (group[group["budget"] == 1], chosen),
            (others[others["budget"] == 1], reference["setting"]),
        )
    ]
    gain = interval((scores[0] - scores[1]).dropna().to_numpy(float))
    return {"gain": round(gain.mean, DIGITS), "gain_low": gain.low, "gain_high": gain.high}
