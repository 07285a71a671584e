"""Compare accuracy with cost: every arm, way of averaging at test, and ensemble."""

from collections.abc import Mapping
from math import nan
from typing import Any

import pandas as pd

from pipeline.comparison.dominance import efficient
from pipeline.comparison.equal_cost import AVERAGE, MIXED
from pipeline.comparison.levels import ARM, AVERAGED, ENSEMBLE
from pipeline.config.labels import VIEWS
from pipeline.config.plan import BASELINE, Plan
from pipeline.config.test_rules import DETERMINISTIC, TestRule

COLUMNS = (
    *("kind", "study", "name", "view", "members"),
    *("training_ratio", "test_ratio", "n", "accuracy", "low", "high"),
    *("efficient", "efficient_training", "efficient_test"),
)
COSTS = ("training_ratio", "test_ratio")


def efficiency(
    plan: Plan, costs: pd.DataFrame, rules: pd.DataFrame, equal_cost: pd.DataFrame
) -> pd.DataFrame:
    """Return test accuracy and cost of every arm, other test rule, and ensemble.

    Arms with another number of training images than the baseline are left out. A row is `efficient`
    if no other one is at least as accurate at no higher cost of training and of test, and better in
    one of the three; `efficient_training` and `efficient_test` consider one cost only. Costs are
    multiples of the baseline's, and equal if they are so to two decimals.

    Args:
        plan: The confirmation plan.
        costs: The table `costs`.
        rules: The table `rules`.
        equal_cost: The table `equal_cost`.

    Returns:
        A table with `COLUMNS`; accuracies are fractions, with a 95 % interval of the mean over the
        n seeds (groups for an ensemble). An ensemble has no view, and its method as name.
    """
    rows = [*_single(plan, costs, rules), *_ensembles(plan, equal_cost)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table = table.dropna(subset=["accuracy", "training_ratio", "test_ratio"])
    return table.assign(
        efficient=efficient(table, COSTS),
        efficient_training=efficient(table, COSTS[:1]),
        efficient_test=efficient(table, COSTS[1:]),
    ).reset_index(drop=True)


def _single(plan: Plan, costs: pd.DataFrame, rules: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of single networks: the baseline once, then each arm under each rule."""
    tested = rules[(rules["split"] == "test") & (rules["metric"] == "accuracy")]
    cost_of = {(row["study"], row["arm"]): row for row in costs.to_dict("records")}
    seen: set[Any] = set()
    rows = []
    for study in plan.studies_of("comparison"):
        size = study.arms[0].train_size
        for arm in study.arms:
            key = study.name, arm.name
            runs = tuple(run.fingerprint for run in plan.runs if (run.study, run.arm) == key)
            identity = BASELINE if arm.name == BASELINE else runs
            if arm.train_size != size or identity in seen or key not in cost_of:
                continue
            seen.add(identity)
            one_pass = cost_of[key]["test_flops"] / cost_of[key]["passes"]
            reference = cost_of[study.name, BASELINE]
            of_arm = tested[(tested["study"] == study.name) & (tested["arm"] == arm.name)]
            for row in of_arm.to_dict("records"):
                rule = TestRule(view=row["view"], members=row["members"])
                rows.append(
                    {
                        "kind": ARM if rule == arm.rule else AVERAGED,
                        "study": study.name,
                        "name": arm.name,
                        "view": rule.view,
                        "members": rule.members,
                        "training_ratio": cost_of[key]["training_ratio"],
                        "test_ratio": rule.members * one_pass / reference["test_flops"],
                        **_band(row),
                    }
                )
    return rows


def _ensembles(plan: Plan, equal_cost: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of methods that are not the test rule of a compared arm."""
    compared = {arm.name for study in plan.studies_of("comparison") for arm in study.arms}
    compared -= {BASELINE}
    rows = []
    for (study, method), group in equal_cost.groupby(["study", "method"], sort=False):
        measures = {row["metric"]: row for row in group.to_dict("records")}
        accuracy = measures["accuracy"]
        one_network = accuracy["model"] in compared or method == VIEWS["crops"]
        if accuracy["role"] not in (AVERAGE, MIXED) or one_network:
            continue
        rows.append(
            {
                "kind": ENSEMBLE,
                "study": study,
                "name": method,
                "view": DETERMINISTIC.view,
                "members": round(_mean(measures, "forward_passes")),
                "training_ratio": _mean(measures, "training_cost"),
                "test_ratio": _mean(measures, "test_cost"),
                **_band(accuracy),
            }
        )
    return rows


def _mean(measures: Mapping[str, Mapping[str, Any]], metric: str) -> float:
    """Return the mean of a metric; NaN if the table does not have it."""
    return float(measures[metric]["mean"]) if metric in measures else nan


def _band(row: Any) -> dict[str, float]:
    return {"n": row["n"], "accuracy": row["mean"], "low": row["low"], "high": row["high"]}
