"""Summarize the confirmation runs of every arm: outcomes by run, and means over runs."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.comparison.bands import bands
from pipeline.config.plan import Plan
from pipeline.config.test_rules import DETERMINISTIC
from pipeline.evaluation.metrics import GAPS, OBSERVED
from pipeline.evaluation.scores import GAP_SPLIT

PARTS = (*GAPS, OBSERVED)
COSTS = ("training_flops", "updates", "forward_flops")
OUTCOMES = ("test_accuracy", "train_accuracy", *PARTS)
KEYS = ("study", "arm")
Records = Mapping[str, Mapping[str, Any]]  # fingerprint -> record


def run_outcomes(plan: Plan, scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row per scored run: study, arm, seed, fingerprint and the columns `OUTCOMES`.

    All outcomes are fractions. Test accuracy is under the test rule of the arm; train accuracy and
    the parts of the gap are deterministic.

    Args:
        plan: The confirmation plan.
        scores: The table `scores`.
    """
    frame = planned_runs(plan)
    accuracy = scores[scores["metric"] == "accuracy"]
    rules = [(run, rule.view, rule.members) for run, rule in plan.rules().items()]
    declared = pd.DataFrame(rules, columns=["fingerprint", "view", "members"])
    tested = accuracy[accuracy["split"] == "test"].merge(declared)
    deterministic = accuracy["view"] == DETERMINISTIC.view
    trained = accuracy[(accuracy["split"] == "train") & deterministic]
    gaps = scores[scores["split"] == GAP_SPLIT]
    outcome_rows = {"test_accuracy": tested, "train_accuracy": trained}
    outcome_rows |= {name: gaps[gaps["metric"] == name] for name in PARTS}
    for name, rows in outcome_rows.items():
        values = rows.set_index("fingerprint")["value"].astype(float)
        frame[name] = frame["fingerprint"].map(values).astype(float)
    return frame.dropna(subset=["test_accuracy", "gap"]).reset_index(drop=True)


def arm_means(outcomes: pd.DataFrame, plan: Plan, records: Records) -> pd.DataFrame:
    """Return the mean of every outcome and cost over the runs of an arm, with its interval.

    Outcomes are from `run_outcomes`; costs are operations and updates of the done runs.

    Args:
        outcomes: The table that `run_outcomes` returns.
        plan: The confirmation plan.
        records: The records of its runs.

    Returns:
        A table with the columns study, arm, metric, n, mean, low, high.
    """
    costs = planned_runs(plan)
    costs = costs[[_is_done(records, name) for name in costs["fingerprint"]]]
    for cost in COSTS:
        values = [records[name].get("cost", {}).get(cost) for name in costs["fingerprint"]]
        costs = costs.assign(**{cost: pd.Series(values, index=costs.index, dtype=float)})
    parts = [
        table.melt(list(KEYS), list(names), var_name="metric")
        for table, names in ((outcomes, OUTCOMES), (costs, COSTS))
    ]
    return bands(pd.concat(parts, ignore_index=True), (*KEYS, "metric"), "value")


def rule_means(plan: Plan, scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of every score under every test rule, declared or not, over scored runs.

    Args:
        plan: The confirmation plan.
        scores: The table `scores`.

    Returns:
        A table with the columns study, arm, view, members, split, metric, n, mean, low, high.
    """
    used = scores[scores["split"].isin(("validation", "test"))]
    scored = planned_runs(plan).merge(used, on="fingerprint")
    return bands(scored, (*KEYS, "view", "members", "split", "metric"), "value")


def audit_means(plan: Plan, records: Records) -> pd.DataFrame:
    """Return the means of the measures in the audits of regularizers, over the done runs of an arm.

    Args:
        plan: The confirmation plan.
        records: The records of its runs.

    Returns:
        A table with the columns study, arm, regularizer, measure, n, mean, low, high.
    """
    rows = []
    for run in plan.runs_of("comparison"):
        audit = (
            records[run.fingerprint].get("audit", {}) if _is_done(records, run.fingerprint) else {}
        )
        for regularizer, measures in sorted(audit.items()):
            rows += [
                (run.study, run.arm, regularizer, measure, float(value))
                for measure, value in sorted(measures.items())
            ]
    keys = (*KEYS, "regularizer", "measure")
    return bands(pd.DataFrame(rows, columns=[*keys, "value"]), keys, "value")


def planned_runs(plan: Plan) -> pd.DataFrame:
    """Return the compared runs of a plan: study, arm, seed, fingerprint.

    Args:
        plan: The confirmation plan.
    """
    runs = plan.runs_of("comparison")
    rows = [(run.study, run.arm, run.seed, run.fingerprint) for run in runs]
    return pd.DataFrame(rows, columns=[*KEYS, "seed", "fingerprint"])


def _is_done(records: Records, fingerprint: str) -> bool:
    return records.get(fingerprint, {}).get("state") == "done"
