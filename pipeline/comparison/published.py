"""Compare published effects with measured ones: the same contrast, paired by seed.

A study declares the effect, its source and its sign before any data is seen. Nothing here carries a
verdict.
"""

from collections.abc import Mapping
from math import nan
from typing import Any

import pandas as pd

from pipeline.comparison.contrasts import Costs
from pipeline.comparison.intervals import Array, interval, mean, varies
from pipeline.comparison.levels import LEVEL, PRIMARY
from pipeline.comparison.matching import Arm, Outcomes, compared, finite
from pipeline.comparison.significance import equivalence_p
from pipeline.comparison.verdicts import Agreement
from pipeline.config.labels import VIEWS
from pipeline.config.plan import BASELINE, Plan, PlannedStudy
from pipeline.config.schema import Published
from pipeline.evaluation.methods import SINGLE

COLUMNS = (
    *("study", "arm", "against_study", "against", "measure", "passes_before", "passes_after"),
    *("sign", "source", "published_setting", "published_before", "published_after"),
    *("published_change", "n", "before", "after", "change", "difference", "low", "high", "p"),
    "outcome",
)
CROPPED = [SINGLE, VIEWS["crops"]]  # methods of a study of ensembles

Key = tuple[str, str]  # study, arm
Arms = Mapping[Key, Arm]


def published(
    plan: Plan, outcomes: Outcomes, costs: Costs, passes: pd.DataFrame, ensembles: pd.DataFrame
) -> pd.DataFrame:
    """Return a row for every published effect whose arms are in the plan, in its order.

    Errors are fractions, costs multiples of the first arm's; `passes_before` and `passes_after` are
    the numbers of noise passes of a measure of passes. Published figures are as printed. `change`
    and `published_change` are shares of the first value.

    `outcome`: agrees (the 95 % interval lies on the published side of 0), disagrees (on the other
    side), inconclusive, or not measured where no pair is done. An effect that is `not_lower` agrees
    where the difference is above 0 or shown to lie within the margin, and disagrees where it is
    below 0.

    Args:
        plan: The confirmation plan.
        outcomes: States, machines and scores of its runs.
        costs: `training_flops` of every run that is done.
        passes: The table `passes`.
        ensembles: The table `ensembles`.

    Returns:
        A table with `COLUMNS`.

    Raises:
        Refusal: A run that is done has no score.
    """
    arms = _arms(plan)
    rows = []
    for study in plan.studies:
        for item in study.published:
            against = _against(item, study)
            if item.measure == "crops":
                values = _cropped(ensembles[ensembles["study"] == study.name])
            else:
                pair = arms.get(against), arms.get((study.name, item.arm))
                values = _values(item, pair, outcomes, costs, passes)
            if values is not None:
                rows.append(_row(item, study.name, against, values, plan.margin))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _arms(plan: Plan) -> Arms:
    """Return every compared arm and every reference."""
    return {arm.key: arm for pair in compared(plan) for arm in pair.pair()}


def _against(item: Published, study: PlannedStudy) -> Key:
    """Return the study and the arm that a published effect is against."""
    reference = next((arm.against for arm in study.arms if arm.name == item.arm), BASELINE)
    return item.against_study or study.name, item.against or reference


def _values(
    item: Published,
    pair: tuple[Arm | None, Arm | None],
    outcomes: Outcomes,
    costs: Costs,
    passes: pd.DataFrame,
) -> Array | None:
    """Return before and after (2, n), one column per seed; None where the plan lacks an arm."""
    before, after = pair
    if before is None or after is None:
        return None
    if item.measure == "passes":
        return _passed(item, [run.fingerprint for run in after.runs.values()], passes)
    sides, _ = outcomes.sides((before, after))
    if item.measure == "training_cost":
        counted = [[costs[run]["training_flops"] for run in side] for side in sides]
        return finite([[1.0, cost / base if base else nan] for base, cost in counted], 2)
    return 1 - outcomes.values(sides, (before, after), PRIMARY)


def _passed(item: Published, runs: list[str], passes: pd.DataFrame) -> Array:
    """Return test errors (2, n) of the same runs with few and with many noise passes averaged."""
    chosen = passes[(passes["metric"] == "accuracy") & passes["fingerprint"].isin(runs)]
    table = chosen.pivot(index="fingerprint", columns="passes", values="value").reindex(
        columns=list(item.passes)
    )
    return finite((1 - table.to_numpy(float)).tolist(), 2)


def _cropped(ensembles: pd.DataFrame) -> Array | None:
    """Return test errors (2, n) of one model of every group on the image and over its crops."""
    views = ensembles[(ensembles["metric"] == "accuracy") & ensembles["method"].isin(CROPPED)]
    table = views.pivot(index="group", columns="method", values="value").reindex(columns=CROPPED)
    return finite((1 - table.to_numpy(float)).tolist(), 2)


def _row(item: Published, study: str, against: Key, values: Array, margin: float) -> dict[str, Any]:
    before, after = values
    between = interval(after - before)
    low, high = between.low, between.high
    if item.measure == "training_cost" and len(before) and not varies(after - before):
        low = high = between.mean  # counted, the same for every seed: known without error
    passes = item.passes if item.measure == "passes" else (nan, nan)
    figures = item.figures or (nan, nan)
    p_equivalence = equivalence_p(after - before, margin)
    outcome = Agreement.NOT_MEASURED
    if len(before):
        outcome = _outcome(item.effect, low, high, p_equivalence)
    return {
        "study": study,
        "arm": item.arm,
        "against_study": against[0],
        "against": against[1],
        "measure": item.measure,
        "passes_before": passes[0],
        "passes_after": passes[1],
        "sign": item.effect,
        "source": item.source,
        "published_setting": item.setting,
        "published_before": figures[0],
        "published_after": figures[1],
        "published_change": relative_change(*figures),
        "n": len(before),
        "before": mean(before),
        "after": mean(after),
        "change": relative_change(mean(before), mean(after)),
        "difference": between.mean,
        "low": low,
        "high": high,
        "p": between.p,
        "outcome": str(outcome),
    }


def relative_change(before: float, after: float) -> float:
    """Return the change as a share of the first value; NaN where that is not above 0."""
    return after / before - 1 if before > 0 else nan


def _outcome(effect: str, low: float, high: float, p_equivalence: float) -> Agreement:
    """Return the agreement of the interval of a difference with the published effect."""
    below, above = high < 0, low > 0
    if effect == "not_lower":
        agrees, disagrees = above or p_equivalence < LEVEL, below
    else:
        agrees, disagrees = (below, above) if effect == "lower" else (above, below)
    if disagrees:
        return Agreement.DISAGREES
    return Agreement.AGREES if agrees else Agreement.INCONCLUSIVE
