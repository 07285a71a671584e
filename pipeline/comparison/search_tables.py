"""Compute the tables of the studies of searches, by name."""

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.comparison.curves import Histories
from pipeline.comparison.designs import POINTS, Design, designs_of, point_table
from pipeline.comparison.importance import IMPORTANCE, importance
from pipeline.comparison.responses import (
    ENDS,
    RESPONSES,
    SHIFTS,
    SURFACE,
    ends,
    responses,
    shifts,
    surface,
)
from pipeline.comparison.search_methods import CURVES, METHODS, method_tables
from pipeline.comparison.search_scales import SCALES, scales
from pipeline.comparison.significance import holm
from pipeline.comparison.tuning_budget import BUDGETS, budget_table
from pipeline.config.plan import Plan
from pipeline.config.schema import Replay
from pipeline.planning.searches import Search

RATE = "learning_rate"  # name of the hyperparameter whose shifts are measured
TABLES: Mapping[str, tuple[str, ...]] = {
    "search_points": POINTS,
    "search_curves": CURVES,
    "search_methods": (*METHODS, "p_holm"),
    "search_importance": IMPORTANCE,
    "search_responses": RESPONSES,
    "search_ends": ENDS,
    "search_surface": SURFACE,
    "search_shifts": SHIFTS,
    "search_scales": SCALES,
    "tuning_budget": BUDGETS,
}

Tables = Mapping[str, pd.DataFrame]  # name of the CSV file -> table


def search_tables(plan: Plan, histories: Histories, scores: pd.DataFrame) -> Tables:
    """Return every table on studies of searches; empty tables if there are no such studies.

    Args:
        plan: The confirmation plan.
        histories: The learning curves of their runs that are done or diverged, by fingerprint.
        scores: The table `scores`.
    """
    designs = list(designs_of(plan, scores, histories))
    parts = []
    for study in plan.studies_of("search"):
        arms = [(arm.name, design) for each, arm, design in designs if each.name == study.name]
        if study.search and arms:
            parts.append(study_tables(study.name, dict(arms), study.search))
    return {
        name: _joined([tables[name] for tables in parts], columns)
        for name, columns in TABLES.items()
    }


def study_tables(study: str, designs: Mapping[str, Design], replay: Replay) -> Tables:
    """Return the tables of one study.

    Args:
        study: The name of the study.
        designs: The design of each arm, by name.
        replay: The searches that are replayed.
    """
    searches = [Search(method=method, trials=replay.trials) for method in replay.methods]
    by_table: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for arm, design in designs.items():
        curves, methods = method_tables(study, arm, design, searches, replay.replays)
        ranked = importance(study, arm, design)
        names = list(ranked["hyperparameter"]) or list(design.spaces)
        by_table["search_points"].append(point_table(study, arm, design))
        by_table["search_curves"].append(curves)
        by_table["search_methods"].append(methods)
        by_table["search_importance"].append(ranked)
        by_table["search_responses"].append(responses(study, arm, design))
        by_table["search_ends"].append(ends(study, arm, design))
        by_table["search_surface"].append(surface(study, arm, design, names))
        rate = moved(design, names)
        by_table["search_shifts"].append(shifts(study, arm, design, rate))
        by_table["search_scales"].append(scales(study, arm, design, rate))
    for one, other in itertools.combinations(designs.items(), 2):
        by_table["tuning_budget"].append(budget_table(study, one, other, replay.trials))
    tables = {name: _joined(by_table[name], columns) for name, columns in TABLES.items()}
    return tables | {"search_methods": _corrected(tables["search_methods"])}


def moved(design: Design, names: list[str]) -> str | None:
    """Return the learning rate, or without one the most important hyperparameter with a range.

    Args:
        design: The design.
        names: Its hyperparameters, the most important first.

    Returns:
        Its name; None if no hyperparameter has a range.
    """
    ranges = [name for name in names if design.spaces[name].scale]
    rates = [name for name in ranges if name.rpartition(".")[2] == RATE]
    return next(iter([*rates, *ranges]), None)


def _corrected(methods: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with `p_holm`: Holm over the methods and arms of a study."""
    is_tested = (methods["method"] != "random").to_numpy(bool)
    corrected = np.full(len(methods), np.nan)
    corrected[is_tested] = holm(methods.loc[is_tested, "p"].to_numpy(float))
    return methods.assign(p_holm=corrected)


def _joined(parts: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    rows = [part for part in parts if len(part)]
    if not rows:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(rows, ignore_index=True).reindex(columns=list(columns))
