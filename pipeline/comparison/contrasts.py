"""Compare every arm with its reference, paired by seed: the main table of a report."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.family import Family, family
from pipeline.comparison.intervals import Array, interval, standard_error
from pipeline.comparison.levels import COSTS, PRIMARY, SCORES
from pipeline.comparison.look_tests import sides_by_look
from pipeline.comparison.matching import Arm, Outcomes, Side, compared, finite
from pipeline.comparison.other_images import Hits, statistics_over_images
from pipeline.comparison.paired import (
    SEEDS_NEEDED,
    judged_statistics,
    paired_statistics,
    simultaneous,
)
from pipeline.comparison.verdicts import LOST_RUNS, Judged, Losses, judged_with_losses
from pipeline.comparison.weights import (
    last_weight,
    look_equivalence,
    look_statistics,
    mean_over_seeds,
    smallest_p,
)
from pipeline.config.plan import Plan
from pipeline.evaluation.metrics import GAPS
from pipeline.records.runs import STATES
from pipeline.runtime.errors import Refusal

METRICS = (*SCORES, *GAPS, *COSTS)
CORRECTED = (PRIMARY, "gap")  # metrics whose p and joint intervals cover all arms, each by itself
COLUMNS = (
    *("study", "arm", "factor", "setting", "metric", "view", "members", "n", "baseline_mean"),
    *("arm_mean", "difference", "low", "high", "low_90", "high_90", "low_all", "high_all"),
    *("low_images", "high_images", "excludes_zero", "p", "p_sign_flip", "p_holm"),
    *("p_equivalence", "verdict", "below_margin", "withheld"),
    *("detectable", "detectable_low", "detectable_high", *SEEDS_NEEDED),
    *("seed_error", "image_error", "total_error", "verdict_other_images", "repeats"),
    *("correlation", "planned", *STATES, "unpaired", "other_machine"),
    *("lost_pairs", *LOST_RUNS),
)

Costs = Mapping[str, Mapping[str, float]]  # fingerprint -> training_flops, forward_flops


def contrasts(
    plan: Plan,
    outcomes: Outcomes,
    costs: Costs,
    hits: Mapping[str, Hits],
    metrics: Sequence[str] = METRICS,
    besides: Sequence[Arm] = (),
) -> pd.DataFrame:
    """Return one row per (study, arm, metric), in the order of the plan.

    A pair counts where both runs are done, on equal machines, with finite scores, and neither
    collapsed: n + unpaired + other_machine + lost_pairs = planned. So everything here is about
    typical runs; lost runs are counted in the columns `LOST_RUNS`. Differences are arm minus
    reference; costs are multiples of the reference's in the same pair. `excludes_zero` is whether 0
    lies outside the interval, which is not corrected over arms. Under looks, p, intervals and
    equivalence are corrected for the looks that the arm has had (`looks`).

    On the primary metric and the gap, each a family over all arms, `p_holm`, and `low_all`,
    `high_all`: the interval that holds for all arms at once. On the primary metric only:

    - `verdict` and whether it is `below_margin`; inconclusive if it is `withheld` because the
      numbers of lost runs contradict it (`judged_with_losses`);
    - `p_equivalence`: of equivalence within the margin, Holm's correction over the arms as well;
    - `low_90`, `high_90`: the 90 % interval, which lies within the margin where the arm is
      equivalent;
    - `detectable`: the true difference that these pairs detect with 80 % power, with its range from
      `detectable_low` to `detectable_high`, since the spread is measured (`spread_range`);
    - `seeds_needed`: the pairs that find a difference like the observed one with 80 % power, with
      its range too. Both are at level 0.05 / contrasts, the hardest step of Holm's procedure, so
      that "find" means a verdict for any results of the other arms;
    - `seed_error`, `total_error`: standard errors of the difference over seeds, and over seeds and
      test images together; `image_error` is the contribution of the choice of images, so that
      total_error^2 = seed_error^2 + image_error^2;
    - `low_images`, `high_images`: the interval over seeds and images, not corrected over arms, and
      the verdict that the same tests give with that error, `verdict_other_images`, corrected for
      arms and looks as `verdict` is.

    A row `repeats` an earlier one if it compares the same runs under the same rules. It repeats its
    reference if it has the same runs as the reference. It counts in no correction, and has the
    verdict of the earlier one, or is equivalent.

    Args:
        plan: The confirmation plan.
        outcomes: States, machines and scores of its runs, with those that collapsed.
        costs: `training_flops` and `forward_flops` of every run that is done.
        hits: Which test images each run classifies correctly, as `hits_of` returns it; what needs
            an unknown run is NaN.
        metrics: A part of `METRICS`.
        besides: Additional contrasts: pairs of changes against the better of their parts, which is
            chosen by its validation scores. They join the same family. The p of a loss is doubled,
            and so is the p of equivalence of a gain, since the better of two references also looks
            better than it is on the test set.

    Returns:
        A table with `COLUMNS`, those of `besides` last; undefined numbers are NaN.

    Raises:
        Refusal: A run that is done has no score or no cost.
    """
    arms = [*compared(plan), *besides]
    selected = [number >= len(arms) - len(besides) for number in range(len(arms))]
    corrected = family([_identities(arm) for arm in arms])
    rows: list[dict[str, Any]] = []
    for arm, again in zip(arms, corrected.repeats, strict=True):
        of_arm = _rows(arm, outcomes, costs, metrics, corrected.level, plan)
        rows += [row | {"repeats": again} for row in of_arm]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for metric in CORRECTED:
        of_metric = table["metric"] == metric
        if of_metric.any():
            p_values, differences = table.loc[of_metric, ["p", "difference"]].to_numpy(float).T
            adjusted = corrected.holm(_doubled(p_values, differences, selected))
            table.loc[of_metric, "p_holm"] = adjusted
    primary = table["metric"] == PRIMARY
    table = table.assign(verdict="", below_margin=False, withheld=False, verdict_other_images="")
    if primary.any():
        over_images = [_over_images(arm, outcomes, hits, plan) for arm in arms]
        judged = _judged(table[primary], over_images, selected, corrected)
        for name, values in judged.items():
            table.loc[primary, name] = values
    return table


def _judged(
    primary: pd.DataFrame,
    over_images: Sequence[Mapping[str, float]],
    selected: Sequence[bool],
    corrected: Family,
) -> dict[str, Any]:
    """Return the columns of the primary metric that depend on all arms or on the test images."""
    differences = primary["difference"].to_numpy(float)
    over = pd.DataFrame(over_images)
    losses = [Losses(*row) for row in primary[list(LOST_RUNS)].to_numpy(int).tolist()]

    def verdicts(p_holm: Array, p_equivalence: Array) -> list[Judged]:
        concluded = corrected.verdicts(differences, p_holm, p_equivalence)
        return [judged_with_losses(one, lost) for one, lost in zip(concluded, losses, strict=True)]

    def corrected_p(p_values: pd.Series, signs: Array) -> Array:
        return corrected.holm(_doubled(p_values.to_numpy(float), signs, selected))

    p_equivalence = corrected_p(primary["p_equivalence"], -differences)
    here = verdicts(primary["p_holm"].to_numpy(float), p_equivalence)
    p_images = corrected_p(over["p_images"], differences)
    elsewhere = verdicts(p_images, corrected_p(over["p_equivalence_images"], -differences))
    return {
        "p_equivalence": p_equivalence,
        "total_error": over["total_error"].to_numpy(),
        "image_error": over["image_error"].to_numpy(),
        "low_images": over["low_images"].to_numpy(),
        "high_images": over["high_images"].to_numpy(),
        "verdict": [str(verdict.verdict) for verdict in here],
        "below_margin": [verdict.below_margin for verdict in here],
        "withheld": [verdict.withheld for verdict in here],
        "verdict_other_images": [str(verdict.verdict) for verdict in elsewhere],
    }


def _over_images(
    arm: Arm, outcomes: Outcomes, hits: Mapping[str, Hits], plan: Plan
) -> dict[str, float]:
    """Return errors, interval and p of an arm over seeds and test images, after its looks."""
    pair = arm.pair()
    sides, _ = outcomes.sides(pair)
    scored = [side for side in sides if len(outcomes.values([side], pair, PRIMARY)[0])]
    by_look, weights = sides_by_look(arm, scored, plan.looks)
    looks = [(np.diff(outcomes.values(some, pair, PRIMARY), axis=0)[0], some) for some in by_look]
    return statistics_over_images(looks, weights, hits, plan.margin)


def _doubled(p_values: Array, differences: Array, selected: Sequence[bool]) -> Array:
    """Return the p-values (n,), doubled for arms that are worse than a selected reference.

    The better of two references looks better than it is: a loss seems larger. For equivalence the
    signs are opposite, since a gain seems smaller.
    """
    doubled = np.array(selected) & (differences < 0)
    return np.where(doubled, np.minimum(2 * p_values, 1.0), p_values)


def _identities(arm: Arm) -> tuple[Any, Any]:
    """Return the identities of the runs of the reference and of the arm."""
    reference, measured = arm.pair()
    return reference.identity, measured.identity


def _rows(
    arm: Arm, outcomes: Outcomes, costs: Costs, metrics: Sequence[str], level: float, plan: Plan
) -> Iterator[dict[str, Any]]:
    pair = arm.pair()
    sides, other_machine = outcomes.sides(pair)
    losses = asdict(outcomes.losses(arm))
    lost_pairs = outcomes.lost_pairs(pair)
    described = _description(arm, outcomes.states)

    def scores(some: Sequence[Side], metric: str) -> Array:
        if metric in COSTS:
            return _cost_values(some, pair, metric, costs)
        return outcomes.values(some, pair, metric)

    weight = last_weight([arm], plan.looks)
    for metric in metrics:
        reference, measured = scores(sides, metric)
        differences = measured - reference
        statistics = paired_statistics(reference, measured)
        statistics |= _statistics(differences, metric, level * weight, plan.margin)
        if plan.looks:
            by_look, weights = sides_by_look(arm, sides, plan.looks)
            looks = [mean_over_seeds(np.diff(scores(some, metric), axis=0)[0]) for some in by_look]
            statistics |= look_statistics(looks, weights)
            statistics["p_sign_flip"] = smallest_p([statistics["p_sign_flip"]], [weight])
            if metric == PRIMARY:
                statistics |= look_equivalence(looks, weights, plan.margin)
        yield {
            **described,
            "metric": metric,
            **arm.rule(metric).model_dump(),
            **statistics,
            "unpaired": len(arm.runs) - other_machine - lost_pairs - len(measured),
            "other_machine": other_machine,
            "lost_pairs": lost_pairs,
            **losses,
        }


def _statistics(differences: Array, metric: str, level: float, margin: float) -> dict[str, float]:
    """Return the statistics of a metric besides `paired_statistics`."""
    if metric == PRIMARY:
        return judged_statistics(differences, level, margin)
    if metric not in CORRECTED:
        return {}
    between = interval(differences)
    error = standard_error(differences) if between.sd > 0 else nan
    return simultaneous(between.mean, error, between.n, level)


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
