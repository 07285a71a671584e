"""Compare ways to predict with the models of a group: cost, scores and paired gains."""

from collections.abc import Iterator

import pandas as pd

from pipeline.comparison.dominance import efficient
from pipeline.comparison.gains import GAIN, gain
from pipeline.comparison.intervals import interval
from pipeline.evaluation.methods import EVERY_ARM

COSTS = {"training_cost": "training_flops", "test_cost": "test_flops"}  # ratio: counted
COLUMNS = (
    *("study", "method", "model", "against", "role", "efficient", "metric"),
    *("n", "mean", "low", "high", *GAIN),
)
SINGLE, REFERENCE, MIXED, AVERAGE = "single", "reference", "mixed", "average"
SELECTING, HELD_OUT = "nll_gain_selecting", "nll_gain_held_out"  # of greedy selection only


def equal_cost(ensembles: pd.DataFrame, reliability: pd.DataFrame) -> pd.DataFrame:
    """Return a row per study, method and metric: the mean over groups and the paired gain.

    Added to the metrics of `ensembles` are `training_cost` and `test_cost` (training_flops and
    test_flops as multiples of the single model's), `overconfidence` (mean confidence minus
    accuracy) and, for greedy selection, `optimism` (its gain in NLL on the half of validation that
    it used, minus that on the other half). Gains are over the method `against`, paired by group.

    `role` is single (the one model that other methods start from), reference (other methods are
    compared with it), mixed (it uses the networks of all arms) or average. `efficient` is whether
    no other method of the study is at least as accurate at no higher cost of training and of test,
    and better in one of the three. Methods are in the order of training cost and forward passes,
    the single model first.

    Args:
        ensembles: The table `ensembles`.
        reliability: The table `reliability`.

    Returns:
        A table with `COLUMNS`.
    """
    rows = [
        row
        for study, methods in ensembles.groupby("study", sort=False)
        for row in _methods(str(study), methods, reliability[reliability["study"] == study])
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _methods(
    study: str, ensembles: pd.DataFrame, reliability: pd.DataFrame
) -> Iterator[dict[str, object]]:
    about = ensembles.drop_duplicates("method").set_index("method")[["model", "against"]]
    roles = _roles(about)
    single = next(name for name, role in roles.items() if role == SINGLE)
    wide = _by_group(ensembles, reliability, single)
    order = wide.groupby("method")[["training_cost", "forward_passes"]].mean()
    order = order.assign(later=order.index != single, cost=order["training_cost"].round(2))
    means = wide.groupby("method")[["accuracy", *COSTS]].mean()
    is_efficient = dict(zip(means.index, efficient(means, tuple(COSTS)), strict=True))
    # a stable sort from the order in which the methods were made
    ordered = order.loc[list(about.index)].sort_values(
        ["later", "cost", "forward_passes"], kind="stable"
    )
    for name in ordered.index:
        scores, reference = wide.loc[name], wide.loc[about.loc[name, "against"]]
        fixed = {"study": study, "method": name, **about.loc[name], "role": roles[name]}
        fixed["efficient"] = is_efficient[name]
        for metric in [metric for metric in wide if scores[metric].notna().any()]:
            mean = interval(scores[metric].dropna().to_numpy(float))
            numbers = {"n": mean.n, "mean": mean.mean, "low": mean.low, "high": mean.high}
            yield {**fixed, "metric": metric, **numbers, **gain(scores[metric] - reference[metric])}


def _roles(about: pd.DataFrame) -> dict[str, str]:
    """Return the role of every method, from its model and the method that it is compared with."""
    others = {against for name, against in about["against"].items() if name != against}
    roles = {}
    for name, model, against in about.itertuples(name=None):
        if name == against:
            roles[name] = SINGLE
        elif name in others:
            roles[name] = REFERENCE
        else:
            roles[name] = MIXED if model == EVERY_ARM else AVERAGE
    return roles


def _by_group(ensembles: pd.DataFrame, reliability: pd.DataFrame, single: str) -> pd.DataFrame:
    """Return all metrics (columns) by method and group."""
    wide = ensembles.pivot(index=["method", "group"], columns="metric", values="value")
    wide = wide.astype(float)
    for ratio, name in COSTS.items():
        counted = wide.get(name, pd.Series(index=wide.index, dtype=float))
        starts = wide.index.get_level_values("group").map(counted.loc[single])
        wide[ratio] = counted / starts
    wide["overconfidence"] = _overconfidence(reliability)
    if SELECTING in wide:
        wide["optimism"] = wide[SELECTING] - wide[HELD_OUT]
    return wide


def _overconfidence(reliability: pd.DataFrame) -> pd.Series:
    """Return mean confidence minus accuracy over all bins, by method and group."""
    excess = (reliability["confidence"] - reliability["accuracy"]).astype(float).fillna(0.0)
    weighted = reliability.assign(excess=excess * reliability["count"])
    sums = weighted.groupby(["method", "group"])[["excess", "count"]].sum()
    return sums["excess"] / sums["count"]
