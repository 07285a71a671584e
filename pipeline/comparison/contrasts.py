"""Every arm against its study's baseline, paired by seed: the table that the report is made of.

Separate from `intervals.py` and `significance.py`, which know neither arms nor runs, and from `matching.py`,
which says which runs are a pair: here is what is asked of the pairs of one arm.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import nan
from typing import Any

import pandas as pd

from pipeline.comparison.intervals import (
    LEVEL,
    Array,
    correlation,
    detectable,
    equivalence_p,
    interval,
    mean,
    seeds_needed,
    sign_flip_p,
    standard_error,
)
from pipeline.comparison.matching import (
    GAPS,
    PRIMARY,
    SCORES,
    Arm,
    Outcomes,
    Side,
    compared,
    finite,
    outcomes,
)
from pipeline.comparison.significance import holm, verdict
from pipeline.config.plan import Plan
from pipeline.config.test_rules import members
from pipeline.runtime.errors import Refusal

COSTS = ("training_cost", "test_cost")  # operations counted, in those of the pair's baseline
METRICS = (*SCORES, *GAPS, *COSTS)
COLUMNS = (
    *(
        "study",
        "arm",
        "factor",
        "strength",
        "metric",
        "rule",
        "n",
        "baseline_mean",
        "arm_mean",
        "difference",
        "low",
        "high",
    ),
    *(
        "p",
        "p_sign_flip",
        "p_holm",
        "verdict",
        "detectable",
        "seeds_needed",
        "seed_error",
        "image_error",
        "correlation",
    ),
    *("planned", "done", "failed", "diverged", "missing", "unpaired", "other_machine"),
)

Costs = Mapping[str, Mapping[str, float]]  # fingerprint -> training_flops, forward_flops
Right = Mapping[
    tuple[str, str], Array
]  # (study, arm) -> by test image, the share of its runs that are right (images,)


def contrasts(
    scores: pd.DataFrame,
    plan: Plan,
    states: Mapping[str, str],
    machines: Mapping[str, Any],
    costs: Costs,
    images: pd.DataFrame,
) -> pd.DataFrame:
    """One row per (study, arm, metric), in the order of the plan; the columns are `COLUMNS`.

    `scores` has columns fingerprint, rule, split, metric, value; `images` has study, arm, image, correct: the share of
    the arm's runs (0 to 1) that are right on that test image. `states` and `machines` map every planned run to its state
    and to what it was trained on, `costs` every done one to its training_flops and forward_flops. A pair counts where
    both runs are done, on equal machines, with numbers for scores: n + unpaired + other_machine = planned.

    Differences are arm - baseline; costs are shares of the baseline's of the same pair, which is 1. On the primary
    metric alone: p_holm and verdict; `detectable`, the true difference that these pairs would have found with 80 %
    power, and `seeds_needed`, the pairs that would so find a difference like the one observed. Both are at the level
    0.05 / contrasts of the plan, the hardest step of Holm's procedure, so that "found" means a verdict whatever the
    other arms do. `seed_error` is the standard error of the difference over seeds; `image_error` that over test
    images, were they drawn again (it holds what part of the seeds' noise falls on each image apart).

    Undefined numbers are NaN. Raises Refusal where a done run has no score or no cost.
    """
    known, arms, right = outcomes(scores, states, machines), [*compared(plan)], _right(images)
    judge = partial(_judged, level=LEVEL / max(len(arms), 1), margin=plan.margin)
    table = pd.DataFrame(
        [row for arm in arms for row in _rows(arm, known, costs, judge)],
        columns=[*COLUMNS, "p_equivalence"],
    )
    primary = table["metric"] == PRIMARY
    table.loc[primary, "p_holm"] = holm(table.loc[primary, "p"].to_numpy(float))
    table.loc[primary, "image_error"] = [_image_error(arm, right) for arm in arms]
    judged = zip(table["difference"], table["p_holm"], table["p_equivalence"], primary, strict=True)
    table["verdict"] = [verdict(*numbers) if is_primary else "" for *numbers, is_primary in judged]
    return table[list(COLUMNS)]


def _rows(
    arm: Arm, known: Outcomes, costs: Costs, judge: Callable[[Array], dict[str, float]]
) -> Iterator[dict[str, Any]]:
    pair = arm.pair()
    sides, elsewhere = known.side_by_side(pair)
    fixed = _fixed(arm, known.states)
    for metric in METRICS:
        baseline, own = (
            _costs(sides, pair, metric, costs)
            if metric in COSTS
            else known.values(sides, pair, metric)
        )
        numbers = _numbers(baseline, own)
        lost = {"unpaired": len(arm.runs) - elsewhere - len(own), "other_machine": elsewhere}
        judged = judge(own - baseline) if metric == PRIMARY else {}
        yield {**fixed, "metric": metric, "rule": arm.rule(metric), **numbers, **judged, **lost}


def _fixed(arm: Arm, states: Mapping[str, str]) -> dict[str, Any]:
    """What is the same for every metric."""
    counts = Counter(states[run.fingerprint] for run in arm.runs.values())
    first = next(iter(arm.runs.values()), None)
    return {
        "study": arm.study.name,
        "arm": arm.described.name,
        "factor": arm.described.factor,
        "strength": first.strength if first else "",
        "planned": len(arm.runs),
        **{state: counts[state] for state in ("done", "failed", "diverged", "missing")},
    }


def _numbers(baseline: Array, arm: Array) -> dict[str, float]:
    between = interval(arm - baseline)
    return {
        "n": between.n,
        "baseline_mean": mean(baseline),
        "arm_mean": mean(arm),
        "difference": between.mean,
        "low": between.low,
        "high": between.high,
        "p": between.p,
        "p_sign_flip": sign_flip_p(arm - baseline),
        "correlation": correlation(baseline, arm),
    }


def _judged(differences: Array, level: float, margin: float) -> dict[str, float]:
    """What only the primary metric carries."""
    between = interval(differences)
    return {
        "p_equivalence": equivalence_p(differences, margin),
        "detectable": detectable(between.sd, between.n, level),
        "seeds_needed": seeds_needed(between.mean, between.sd, level),
        "seed_error": standard_error(differences),
    }


def _costs(sides: Sequence[Side], pair: Sequence[Arm], metric: str, costs: Costs) -> Array:
    """Costs (2, n) of baseline and arm, in those of the baseline: of training, or of one example under each one's rule."""
    name = "training_flops" if metric == "training_cost" else "forward_flops"
    factors = [1 if metric == "training_cost" else members(arm.described.rule) for arm in pair]
    if missing := [run for side in sides for run in side if name not in costs.get(run, {})]:
        raise Refusal(
            f"costs: no {name} of run {missing[0]}; needed is one for every run that is done"
        )
    counted = [
        [factor * costs[run][name] for run, factor in zip(side, factors, strict=True)]
        for side in sides
    ]
    return finite([[cost / side[0] if side[0] else nan for cost in side] for side in counted], 2)


def _right(images: pd.DataFrame) -> Right:
    """The shares by arm, all in one order of the images; NaN for an image that an arm has none of."""
    table = images.pivot(index="image", columns=["study", "arm"], values="correct")
    return dict(zip(table.columns, table.to_numpy(float).T, strict=True))


def _image_error(arm: Arm, right: Right) -> float:
    """The standard error of an arm's difference over test images; NaN where either has no done run."""
    own, other = (right.get(one.key) for one in reversed(arm.pair()))
    return standard_error(own - other) if own is not None and other is not None else nan
