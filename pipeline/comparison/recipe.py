"""Choose the arm to use: the cheapest that helps and is not beaten by another helping arm."""

from collections.abc import Container, Mapping
from typing import Any

import pandas as pd

from pipeline.comparison.intervals import interval
from pipeline.comparison.levels import LEVEL, PRIMARY
from pipeline.comparison.matching import Arm, Outcomes, compared
from pipeline.comparison.significance import holm
from pipeline.comparison.verdicts import Verdict
from pipeline.comparison.weights import last_weight, look_statistics, mean_over_seeds
from pipeline.config.plan import BASELINE, Plan

KEYS = ("study", "arm")
OTHER = ("other_study", "other")
PAIRS = (*KEYS, *OTHER, "n", "difference", "low", "high", "p", "p_holm")
COLUMNS = (
    *(*KEYS, "training_ratio", "test_ratio", "changes", "validation_accuracy"),
    *("n", "difference", "low", "high", "beaten", "chosen"),
)
DATA = "data."  # how protocol values begin that no choice of training can replace


def helping_arms(plan: Plan, contrasts: pd.DataFrame) -> list[Arm]:
    """Return the arms that a recipe may name, in the order of the plan.

    An arm is one if it is compared with the baseline, helps by more than the margin, changes no
    data, and starts from no network that has seen more examples of the protocol's classes. Of arms
    that compare the same runs only the first counts.

    Args:
        plan: The confirmation plan.
        contrasts: The table `contrasts`.
    """
    rows = contrasts[(contrasts["metric"] == PRIMARY) & ~contrasts["repeats"].astype(bool)]
    rows = rows[(rows["verdict"] == Verdict.HELPS) & ~rows["below_margin"].astype(bool)]
    helping = set(zip(rows["study"], rows["arm"], strict=True))
    more = plan.with_more_data()
    return [arm for arm in compared(plan) if arm.key in helping and _is_choice(arm, more)]


def pairs(plan: Plan, outcomes: Outcomes, contrasts: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every two arms of `helping_arms`: their difference in test accuracy.

    Each arm is scored under its own test rule. The difference is `arm` minus `other`, paired by
    seed, with its 95 % interval and two-sided p; `p_holm` is corrected over the rows.

    Args:
        plan: The confirmation plan.
        outcomes: States, machines and scores of its runs.
        contrasts: The table `contrasts`.

    Returns:
        A table with the columns `PAIRS`; undefined numbers are NaN.

    Raises:
        Refusal: A run that is done has no score.
    """
    arms = helping_arms(plan, contrasts)
    rows: list[dict[str, Any]] = []
    for number, other in enumerate(arms):
        for arm in arms[number + 1 :]:
            sides, _ = outcomes.sides((other, arm))
            second, first = outcomes.values(sides, (other, arm), PRIMARY)
            differences = first - second
            between = interval(differences)
            weight = last_weight([other, arm], plan.looks)
            names = dict(zip((*KEYS, *OTHER), (*arm.key, *other.key), strict=True))
            corrected = look_statistics([mean_over_seeds(differences)], [weight])
            numbers = {"n": between.n, "difference": between.mean}
            rows.append({**names, **numbers, **corrected})
    table = pd.DataFrame(rows, columns=list(PAIRS))
    return table.assign(p_holm=holm(table["p"].to_numpy(float)) if rows else None)


def recipe(plan: Plan, contrasts: pd.DataFrame, between: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every arm that a recipe may name, the one to use first.

    An arm is `beaten` by the number of others that are significantly better after Holm's
    correction. Of those that are beaten least, the one with the lowest training cost is `chosen`;
    then test cost, the number of changes, and validation accuracy on the confirmation seeds decide.

    Args:
        plan: The confirmation plan.
        contrasts: The table `contrasts`.
        between: The table that `pairs` returns.

    Returns:
        A table with `COLUMNS`. Costs are multiples of the baseline's. `low` and `high` bound the
        difference to the baseline with 95 % confidence for all contrasts of the report at once,
        because the arm is chosen among them.
    """
    values = contrasts.set_index([*KEYS, "metric"])
    beaten = _times_beaten(between)
    rows = []
    for arm in helping_arms(plan, contrasts):
        row = values.loc[(*arm.key, PRIMARY)]
        changed = arm.described.factor
        means = {
            name: values.loc[(*arm.key, metric), "arm_mean"]
            for name, metric in (
                ("training_ratio", "training_cost"),
                ("test_ratio", "test_cost"),
                ("validation_accuracy", "validation_accuracy"),
            )
        }
        rows.append(
            {
                **dict(zip(KEYS, arm.key, strict=True)),
                **means,
                "changes": len(changed.regularizers) + len(changed.protocol),
                "n": row["n"],
                "difference": row["difference"],
                "low": row["low_all"],
                "high": row["high_all"],
                "beaten": beaten.get(arm.key, 0),
            }
        )
    rows.sort(key=_preference)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.assign(chosen=[number == 0 for number in range(len(rows))])


def _is_choice(arm: Arm, with_more_data: Container[str]) -> bool:
    """Return whether an arm can replace the baseline on the present data."""
    if any(run.fingerprint in with_more_data for run in arm.runs.values()):
        return False
    changes_data = any(key.startswith(DATA) for key in arm.described.factor.protocol)
    return arm.described.against == BASELINE and not changes_data


def _times_beaten(between: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Return the number of other arms that are significantly better, by study and arm."""
    counts: dict[tuple[str, str], int] = {}
    for row in between[between["p_holm"].astype(float) < LEVEL].to_dict("records"):
        loser = OTHER if row["difference"] > 0 else KEYS
        key = row[loser[0]], row[loser[1]]
        counts[key] = counts.get(key, 0) + 1
    return counts


def _preference(row: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the sort key of an arm, lower is better. Costs within a percent are equal."""
    costs = round(row["training_ratio"], 2), round(row["test_ratio"], 2)
    return row["beaten"], *costs, row["changes"], -row["validation_accuracy"]
