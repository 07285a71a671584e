"""Compare every arm with its reference, paired by seed: the main table of a report."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.family import Family, family
from pipeline.comparison.intervals import Array, mean, standard_error, total_error
from pipeline.comparison.levels import COSTS, PRIMARY, SCORES
from pipeline.comparison.looks import last_weight, look_judgement, look_statistics, sides_by_look
from pipeline.comparison.matching import Arm, Outcomes, Side, compared, finite
from pipeline.comparison.paired import judged_statistics, paired_statistics
from pipeline.comparison.significance import t_equivalence_p, t_test_p
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
    which is not corrected over arms. Under looks, p, intervals and equivalence are corrected for
    those that the arm has had (`looks`). On the primary metric alone:

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
    corrected = family([_identities(arm) for arm in arms])
    rows: list[dict[str, Any]] = []
    for arm, again in zip(arms, corrected.repeats, strict=True):
        found = _rows(arm, outcomes, costs, metrics, corrected.level, plan)
        rows += [row | {"repeats": again} for row in found]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "p_equivalence"])
    primary = table["metric"] == PRIMARY
    if primary.any():
        right, differs = (_by_arm(images, column) for column in ("correct", "differs"))
        rows_of = table[primary].to_dict("records")
        table.loc[primary, "p_holm"] = corrected.holm(table.loc[primary, "p"].to_numpy(float))
        table.loc[primary, "image_error"] = [_image_error(arm, right) for arm in arms]
        table.loc[primary, "total_error"] = [
            _total_error(arm, row, right, differs) for arm, row in zip(arms, rows_of, strict=True)
        ]
    numbers = [table.loc[primary, name].to_numpy(float) for name in JUDGED]
    judged = corrected.verdicts(*numbers) if primary.any() else []
    table = table.assign(verdict="", below_margin=False, verdict_other_images="")
    table.loc[primary, "verdict"] = [str(verdict) for verdict, _ in judged]
    table.loc[primary, "below_margin"] = [below for _, below in judged]
    weights = np.array([last_weight([arm], plan.looks) for arm in arms])
    table.loc[primary, "verdict_other_images"] = _verdicts_on_other_images(
        table[primary], plan.margin, corrected, weights
    )
    return table[list(COLUMNS)]


def _identities(arm: Arm) -> tuple[Any, Any]:
    """Return what identifies the runs of the reference and those of the arm."""
    reference, measured = arm.pair()
    return reference.identity, measured.identity


def _rows(
    arm: Arm, outcomes: Outcomes, costs: Costs, metrics: Sequence[str], level: float, plan: Plan
) -> Iterator[dict[str, Any]]:
    pair = arm.pair()
    sides, other_machine = outcomes.sides(pair)
    described = _description(arm, outcomes.states)

    def scores(some: Sequence[Side], metric: str) -> Array:
        if metric in COSTS:
            return _cost_values(some, pair, metric, costs)
        return outcomes.values(some, pair, metric)

    for metric in metrics:
        reference, measured = scores(sides, metric)
        statistics = paired_statistics(reference, measured)
        judged = {}
        if metric == PRIMARY:
            judged = judged_statistics(measured - reference, level, plan.margin)
        if plan.looks:
            of_looks = sides_by_look(arm, sides, plan.looks)
            differences = [np.diff(scores(some, metric), axis=0)[0] for some in of_looks]
            weights = plan.looks.weights[: len(of_looks)]
            statistics |= look_statistics(differences, weights)
            if metric == PRIMARY:
                judged = look_judgement(differences, weights, level, plan.margin)
        yield {
            **described,
            "metric": metric,
            **arm.rule(metric).model_dump(),
            **statistics,
            **judged,
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
    primary: pd.DataFrame, margin: float, corrected: Family, weights: Array
) -> list[str]:
    """Return the verdicts with the errors over seeds and test images together.

    `weights` (arms,) are those of the last look of each arm.
    """
    if primary.empty:
        return []
    differences, errors = (primary[name].to_numpy(float) for name in ("difference", "total_error"))
    freedom = primary["n"].to_numpy(float) - 1
    p_values = np.where(primary["p"].isna(), nan, t_test_p(differences, errors, freedom))
    p_values = np.minimum(p_values / weights, 1)
    equivalence = t_equivalence_p(differences, errors, freedom, margin) / weights
    judged = corrected.verdicts(differences, corrected.holm(p_values), equivalence)
    return [str(verdict) for verdict, _ in judged]
