"""What papers report, beside what these runs measure: the same contrast, paired by seed, and whether the signs agree.

Separate from `contrasts.py` because nothing here carries a verdict: a study declares the effect, its source and its sign
before any data is seen, and what is measured is laid beside it.
"""

from collections.abc import Mapping
from math import nan
from typing import Any

import pandas as pd

from pipeline.comparison.contrasts import Costs
from pipeline.comparison.intervals import LEVEL, Array, equivalence_p, interval, mean, varies
from pipeline.comparison.matching import PRIMARY, Arm, Outcomes, compared, finite, outcomes
from pipeline.config.plan import BASELINE, Plan, PlannedEnsemble, PlannedStudy
from pipeline.config.schema import Published

COLUMNS = (
    *(
        "study",
        "arm",
        "against",
        "measure",
        "sign",
        "source",
        "setting",
        "published_before",
        "published_after",
    ),
    *("n", "before", "after", "difference", "low", "high", "p", "outcome"),
)
NOTHING = "not measured"
ONE, CROPS = "one model", "crops"  # methods of a study of ensembles

Arms = Mapping[str, Arm]  # by "study.arm"


def published(
    scores: pd.DataFrame,
    plan: Plan,
    states: Mapping[str, str],
    machines: Mapping[str, Any],
    costs: Costs,
    passes: pd.DataFrame,
    ensembles: pd.DataFrame,
) -> pd.DataFrame:
    """A row for every published effect of the plan whose arms are in it, in the order of the plan; columns `COLUMNS`.

    Errors are fractions, costs shares of the first arm's; a measure of passes has their numbers, as in passes_1_12. The
    published figures stand as they are printed. `passes` and `ensembles` are the tables of these names; the rest is as in
    `contrasts`.

    `outcome`: agrees (the 95 % interval lies on the published side of 0), disagrees (on the other), inconclusive, or not
    measured where no pair is done. An effect that is `not_lower` agrees where the difference is above 0 or shown to lie
    within the margin, and disagrees where it is below 0.
    """
    known, arms = outcomes(scores, states, machines), _arms(plan)
    rows, studies = [], list[PlannedStudy | PlannedEnsemble]([*plan.studies, *plan.ensembles])
    for study in studies:
        for item in study.published:
            values = _values(item, study, known, arms, costs, passes, ensembles)
            if values is not None:
                rows.append(_row(item, study.name, _against(item, study), values, plan.margin))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _arms(plan: Plan) -> Arms:
    """Every compared arm, and what they are compared with."""
    found = [arm for pair in compared(plan) for arm in pair.pair()]
    return {".".join(arm.key): arm for arm in found}


def _against(item: Published, study: PlannedStudy | PlannedEnsemble) -> str:
    """What a published effect is against: an arm of the study unless its name has a study before it."""
    own = next((arm.against for arm in study.arms if arm.name == item.arm), BASELINE)
    return item.against or own


def _values(
    item: Published,
    study: PlannedStudy | PlannedEnsemble,
    known: Outcomes,
    arms: Arms,
    costs: Costs,
    passes: pd.DataFrame,
    ensembles: pd.DataFrame,
) -> Array | None:
    """Before and after (2, n), a column for each seed or group; None where the plan has not what it takes."""
    if item.measure == "crops":
        return _cropped(ensembles[ensembles["study"] == study.name])
    other = _against(item, study)
    pair = [arms.get(name if "." in name else f"{study.name}.{name}") for name in (other, item.arm)]
    if pair[0] is None or pair[1] is None:
        return None
    if item.measure == "passes":
        return _passed(item, [run.fingerprint for run in pair[1].runs.values()], passes)
    sides, _ = known.side_by_side((pair[0], pair[1]))
    if item.measure == "training_cost":
        counted = [[costs[run]["training_flops"] for run in side] for side in sides]
        return finite([[1.0, own / base if base else nan] for base, own in counted], 2)
    return 1 - known.values(sides, (pair[0], pair[1]), PRIMARY)


def _passed(item: Published, runs: list[str], passes: pd.DataFrame) -> Array:
    """Test errors of the same runs with few and with many noise passes averaged."""
    own = passes[(passes["metric"] == "accuracy") & passes["fingerprint"].isin(runs)]
    table = own.pivot(index="fingerprint", columns="passes", values="value").reindex(
        columns=list(item.passes)
    )
    return finite((1 - table.to_numpy(float)).tolist(), 2)


def _cropped(ensembles: pd.DataFrame) -> Array | None:
    """Test errors of one model of every group on the image and on the average over its crops."""
    own = ensembles[(ensembles["metric"] == "accuracy") & ensembles["method"].isin((ONE, CROPS))]
    table = own.pivot(index="group", columns="method", values="value").reindex(columns=[ONE, CROPS])
    return finite((1 - table.to_numpy(float)).tolist(), 2)


def _row(item: Published, study: str, against: str, values: Array, margin: float) -> dict[str, Any]:
    before, after = values
    between = interval(after - before)
    low, high = between.low, between.high
    if item.measure == "training_cost" and len(before) and not varies(after - before):
        low = high = between.mean  # counted, the same for every seed: known without error
    return {
        **item.model_dump(include={"arm", "source", "setting"}),
        "sign": item.effect,
        "measure": "_".join(map(str, ("passes", *item.passes)))
        if item.measure == "passes"
        else item.measure,
        **dict(
            zip(("published_before", "published_after"), item.figures or (nan, nan), strict=True)
        ),
        **{
            "study": study,
            "against": against,
            "n": len(before),
            "before": mean(before),
            "after": mean(after),
        },
        **{"difference": between.mean, "low": low, "high": high, "p": between.p},
        "outcome": _outcome(item.effect, low, high, equivalence_p(after - before, margin))
        if len(before)
        else NOTHING,
    }


def _outcome(effect: str, low: float, high: float, p_equivalence: float) -> str:
    """What the interval of a difference says of the published effect."""
    below, above = high < 0, low > 0
    if effect == "not_lower":
        agrees, disagrees = above or p_equivalence < LEVEL, below
    else:
        agrees, disagrees = (below, above) if effect == "lower" else (above, below)
    return "disagrees" if disagrees else "agrees" if agrees else "inconclusive"
