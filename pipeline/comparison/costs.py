"""Compare the costs of all arms in training and at test, counted in operations."""

from collections import defaultdict

import pandas as pd

from pipeline.comparison.arms import COSTS, KEYS, Records
from pipeline.config.plan import BASELINE, Plan

COLUMNS = (
    *KEYS,
    *("n", "training_flops", "training_ratio", "updates", "updates_ratio"),
    *("passes", "test_flops", "uncounted"),
)


def costs(plan: Plan, means: pd.DataFrame, records: Records) -> pd.DataFrame:
    """Return a row for every compared arm, in the order of the plan.

    `training_flops` and `updates` are means over the `n` done runs of the arm, and the ratios are
    multiples of the baseline's. `test_flops` is the cost of one test image under the test rule of
    the arm: its forward passes times the operations of one. `uncounted` has the names of operations
    that all of these leave out, separated by commas.

    Args:
        plan: The confirmation plan.
        means: The table `arms`.
        records: The records of its runs.

    Returns:
        A table with `COLUMNS`; undefined numbers are NaN.
    """
    rows = [
        (study.name, arm.name, arm.rule.members)
        for study in plan.studies_of("comparison")
        for arm in study.arms
    ]
    by_arm = means.pivot(index=list(KEYS), columns="metric", values="mean")
    done = means.loc[means["metric"] == "training_flops", [*KEYS, "n"]].set_index(list(KEYS))
    table = pd.DataFrame(rows, columns=[*KEYS, "passes"])
    table = table.join(by_arm.reindex(columns=list(COSTS)), on=list(KEYS))
    table = table.join(done, on=list(KEYS))
    left_out = _uncounted(plan, records)
    baseline = table[table["arm"] == BASELINE].set_index("study")
    table = table.assign(
        training_ratio=table["training_flops"] / table["study"].map(baseline["training_flops"]),
        updates_ratio=table["updates"] / table["study"].map(baseline["updates"]),
        test_flops=table["passes"] * table["forward_flops"],
        uncounted=[", ".join(sorted(left_out[study, arm])) for study, arm, _ in rows],
    )
    return table.assign(n=table["n"].fillna(0).astype(int))[list(COLUMNS)]


def _uncounted(plan: Plan, records: Records) -> dict[tuple[str, str], set[str]]:
    """Return the names of operations that the counter left out, by study and arm."""
    names = defaultdict[tuple[str, str], set[str]](set)
    for run in plan.runs_of("comparison"):
        cost = records.get(run.fingerprint, {}).get("cost", {})
        names[run.study, run.arm].update(cost.get("uncounted", ()))
    return names
