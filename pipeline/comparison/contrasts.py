"""Compare every arm with its reference, paired by seed: the main table of a report."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.intervals import (
    Array,
    correlation,
    detectable,
    half_width,
    interval,
    mean,
    seeds_needed,
    sign_flip_p,
    standard_error,
    total_error,
)
from pipeline.comparison.levels import COSTS, LEVEL, PRIMARY, SCORES
from pipeline.comparison.matching import Arm, Outcomes, Side, compared, finite
from pipeline.comparison.significance import equivalence_p, holm, t_equivalence_p, t_test_p
from pipeline.comparison.verdicts import Verdict, judge
from pipeline.config.plan import Plan
from pipeline.evaluation.metrics import GAPS
from pipeline.records.runs import STATES
from pipeline.runtime.errors import Refusal

METRICS = (*SCORES, *GAPS, *COSTS)
JUDGED = ["difference", "p_holm", "p_equivalence"]
COLUMNS = (
    *("study", "arm", "factor", "setting", "metric", "view", "members", "n", "baseline_mean"),
    *("arm_mean", "difference", "low", "high", "low_90", "high_90"),
    *("excludes_zero", "p", "p_sign_flip", "p_holm"),
    *("verdict", "below_margin", "detectable", "seeds_needed", "seed_error", "image_error"),
    *("total_error", "verdict_other_images", "repeats"),
    *("correlation", "planned", *STATES, "unpaired", "other_machine"),
)

Costs = Mapping[str, Mapping[str, float]]  # fingerprint -> training_flops, forward_flops


def contrasts(
    plan: Plan,
    outcomes: Outcomes,
    costs: Costs,
    images: pd.DataFrame,
    metrics: Sequence[str] = METRICS,
) -> pd.DataFrame:
    """Return one row per (study, arm, metric), in the order of the plan.

    A pair counts where both runs are done, on equal machines, with finite scores:
    n + unpaired + other_machine = planned. Differences are arm minus reference; costs are multiples
    of the reference's in the same pair. `excludes_zero` is whether 0 lies outside the interval,
    which is not corrected. On the primary metric alone:

    - `p_holm`, `verdict` and whether it is `below_margin`;
    - `low_90`, `high_90`: the 90 % interval, which lies within the margin where the arm is
      equivalent;
    - `detectable`: the true difference that these pairs find with 80 % power;
    - `seeds_needed`: the pairs that find a difference like the observed one with 80 % power. Both
      are at level 0.05 / contrasts, the hardest step of Holm's procedure, so that "find" means a
      verdict whatever the other arms do;
    - `seed_error`, `image_error`: standard errors of the difference over seeds, and over test
      images if they were drawn again (which includes the part of seed noise that differs by image);
    - `total_error`: its standard error over seeds and test images together, and the verdict that
      the same tests give with this error, `verdict_other_images`.

    A row `repeats` an earlier one if it compares the same runs under the same rules, and its
    reference if it has the runs of that. It counts in no correction, and has the verdict of the
    earlier one, or is equivalent.

    Args:
        plan: The confirmation plan.
        outcomes: States, machines and scores of its runs.
        costs: `training_flops` and `forward_flops` of every run that is done.
        images: Columns study, arm, image, correct, differs: the share (0 to 1) of the arm's runs
            that classify that test image correctly, and the share of seeds at which either the arm
            or its reference does.
        metrics: A part of `METRICS`.

    Returns:
        A table with `COLUMNS`; undefined numbers are NaN.

    Raises:
        Refusal: A run that is done has no score or no cost.
    """
    arms = list(compared(plan))
    firsts = _firsts(arms)
    own = [arm.is_its_reference for arm in arms]
    counted = sorted({first for first in firsts if not own[first]})
    level = LEVEL / max(len(counted), 1)
    rows: list[dict[str, Any]] = []
    for number, arm in enumerate(arms):
        repeats = {"repeats": firsts[number] != number or own[number]}
        rows += [row | repeats for row in _rows(arm, outcomes, costs, metrics, level, plan.margin)]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "p_equivalence"])
    primary = table["metric"] == PRIMARY
    if primary.any():
        right, differs = (_by_arm(images, column) for column in ("correct", "differs"))
        rows_of = table[primary].to_dict("records")
        table.loc[primary, "p_holm"] = _holm(
            table.loc[primary, "p"].to_numpy(float), firsts, counted
        )
        table.loc[primary, "image_error"] = [_image_error(arm, right) for arm in arms]
        table.loc[primary, "total_error"] = [
            _total_error(arm, row, right, differs) for arm, row in zip(arms, rows_of, strict=True)
        ]
    judged = [judge(*row) for row in table.loc[primary, JUDGED].itertuples(index=False)]
    judged = [
        (Verdict.EQUIVALENT, False) if same else row for same, row in zip(own, judged, strict=True)
    ]
    table = table.assign(verdict="", below_margin=False, verdict_other_images="")
    table.loc[primary, "verdict"] = [str(verdict) for verdict, _ in judged]
    table.loc[primary, "below_margin"] = [below for _, below in judged]
    table.loc[primary, "verdict_other_images"] = _verdicts_on_other_images(
        table[primary], plan.margin, firsts, counted
    )
    return table[list(COLUMNS)]


def _firsts(arms: Sequence[Arm]) -> list[int]:
    """Return for every arm the number of the first one that compares the same runs."""
    numbers: dict[Any, int] = {}
    return [
        numbers.setdefault(tuple(one.identity for one in arm.pair()), number)
        for number, arm in enumerate(arms)
    ]


def _holm(p_values: Array, firsts: Sequence[int], counted: Sequence[int]) -> Array:
    """Return Holm's adjusted p-values, in which every comparison counts once.

    Args:
        p_values: One for each arm.
        firsts: For every arm the number of the first one that compares the same runs.
        counted: The numbers that are in the family; the p of others is undefined.
    """
    adjusted = dict(zip(counted, holm(p_values[list(counted)]), strict=True)) if counted else {}
    return np.array([adjusted.get(first, nan) for first in firsts])


def _rows(
    arm: Arm, outcomes: Outcomes, costs: Costs, metrics: Sequence[str], level: float, margin: float
) -> Iterator[dict[str, Any]]:
    pair = arm.pair()
    sides, other_machine = outcomes.sides(pair)
    described = _description(arm, outcomes.states)
    for metric in metrics:
        if metric in COSTS:
            reference, measured = _cost_values(sides, pair, metric, costs)
        else:
            reference, measured = outcomes.values(sides, pair, metric)
        yield {
            **described,
            "metric": metric,
            **arm.rule(metric).model_dump(),
            **_statistics(reference, measured),
            **(_judgement(measured - reference, level, margin) if metric == PRIMARY else {}),
            "unpaired": len(arm.runs) - other_machine - len(measured),
            "other_machine": other_machine,
        }


def _description(arm: Arm, states: Mapping[str, str]) -> dict[str, Any]:
    """Return the columns that are the same for every metric."""
    counts = Counter(states[run.fingerprint] for run in arm.runs.values())
    first = next(iter(arm.runs.values()), None)
    return {
        "study": arm.study.name,
        "arm": arm.described.name,
        "factor": arm.described.factor.model_dump(mode="json"),
        "setting": first.setting if first else {},
        "planned": len(arm.runs),
        **{state: counts[state] for state in STATES},
    }


def _statistics(reference: Array, arm: Array) -> dict[str, float]:
    differences = arm - reference
    between = interval(differences)
    return {
        "n": between.n,
        "baseline_mean": mean(reference),
        "arm_mean": mean(arm),
        "difference": between.mean,
        "low": between.low,
        "high": between.high,
        "excludes_zero": between.excludes_zero,
        "p": between.p,
        "p_sign_flip": sign_flip_p(differences),
        "correlation": correlation(reference, arm),
    }


def _judgement(differences: Array, level: float, margin: float) -> dict[str, float]:
    """Return the columns that only the primary metric has."""
    between = interval(differences)
    error = standard_error(differences)
    half = float(half_width(error, between.n, 2 * LEVEL)) if between.sd > 0 else nan
    return {
        "low_90": between.mean - half,
        "high_90": between.mean + half,
        "p_equivalence": equivalence_p(differences, margin),
        "detectable": detectable(between.sd, between.n, level),
        "seeds_needed": seeds_needed(between.mean, between.sd, level),
        "seed_error": error,
    }


def _cost_values(sides: Sequence[Side], pair: Sequence[Arm], metric: str, costs: Costs) -> Array:
    """Return costs (2, n) as multiples of the reference's: of training, or of one test example."""
    training = metric == "training_cost"
    name = "training_flops" if training else "forward_flops"
    passes = [1 if training else arm.described.rule.members for arm in pair]
    rows = []
    for side in sides:
        for run in side:
            if name not in costs.get(run, {}):
                raise Refusal(
                    f"costs: {run}: {name}: missing; expected one for every run that is done"
                )
        reference, cost = (
            number * costs[run][name] for number, run in zip(passes, side, strict=True)
        )
        rows.append([1.0, cost / reference] if reference else [nan, nan])
    return finite(rows, 2)


def _by_arm(images: pd.DataFrame, column: str) -> dict[tuple[str, str], Array]:
    """Return a column (images,) by (study, arm), all in one order of the images."""
    table = images.pivot(index="image", columns=["study", "arm"], values=column)
    return dict(zip(table.columns, table.to_numpy(float).T, strict=True))


def _image_error(arm: Arm, right: Mapping[tuple[str, str], Array]) -> float:
    """Return the standard error over test images; NaN where either arm has no run that is done."""
    return standard_error(_share_differences(arm, right))


def _total_error(
    arm: Arm,
    row: Mapping[str, Any],
    right: Mapping[tuple[str, str], Array],
    differs: Mapping[tuple[str, str], Array],
) -> float:
    """Return the standard error over seeds and test images; NaN where either is unknown."""
    shares = _share_differences(arm, right)
    if not len(shares):
        return nan
    return total_error(row["seed_error"], shares, mean(differs[arm.key]), row["n"])


def _share_differences(arm: Arm, right: Mapping[tuple[str, str], Array]) -> Array:
    """Return the differences (images,) of shares, arm minus reference; empty if one is unknown."""
    reference, shares = (right.get(one.key) for one in arm.pair())
    return np.empty(0) if reference is None or shares is None else shares - reference


def _verdicts_on_other_images(
    primary: pd.DataFrame, margin: float, firsts: Sequence[int], counted: Sequence[int]
) -> list[str]:
    """Return the verdicts with the errors over seeds and test images together."""
    differences, errors = (primary[name].to_numpy(float) for name in ("difference", "total_error"))
    freedom = primary["n"].to_numpy(float) - 1
    p_values = np.where(primary["p"].isna(), nan, t_test_p(differences, errors, freedom))
    adjusted = _holm(p_values, firsts, counted)
    equivalence = t_equivalence_p(differences, errors, freedom, margin)
    numbers = zip(differences, adjusted, equivalence, strict=True)
    judged = [judge(*values)[0] for values in numbers]
    return [
        str(verdict if first in counted else Verdict.EQUIVALENT)
        for first, verdict in zip(firsts, judged, strict=True)
    ]
