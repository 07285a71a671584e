"""The ways to predict with the models of a group, as rows: means, cost, and the paired gain over another way.

Separate from the section that prints them, so that the table and its sentences come from the same numbers.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import nan

import pandas as pd

from pipeline.comparison.intervals import Interval, interval
from pipeline.config.plan import PlannedEnsemble
from pipeline.reporting.frames import banded
from pipeline.reporting.gains import METRICS, SCALED, Gain, difference

TOLD = ("one model", "independent", "snapshots", "all arms", "greedy")  # whose reliability is shown
EVERY = "every arm"  # the model of a method that draws on the networks of all arms
LEAST = 20  # images in a bin whose accuracy is shown
COST = "training_flops"


@dataclass(frozen=True)
class Row:
    """One way to predict: n groups, the mean of every metric over them, and what it gains over the way `against`.

    `cost` is that of its trainings as a multiple of the single model's; `reference` says that it is what others
    are compared with.
    """

    name: str
    model: str
    n: int
    means: dict[str, float]
    cost: float
    gain: Gain
    against: str
    reference: bool

    @property
    def single(self) -> bool:
        """Whether it is the one model that the others start from."""
        return self.against == self.name


def method_rows(table: pd.DataFrame) -> list[Row]:
    """The rows of one study in the table `ensembles`: one model first, then by training cost and forward passes."""
    wide = table.pivot(index=["method", "group"], columns="metric", values="value").astype(float)
    wide = wide.reindex(columns=wide.columns.union([SCALED]))
    about = table.drop_duplicates("method").set_index("method")[["model", "against"]]
    compared = {against for name, against in about["against"].items() if name != against}
    single = next(name for name, against in about["against"].items() if name == against)
    rows = [
        _row(wide, str(name), (str(model), str(against)), str(single), name in compared)
        for name, model, against in about.itertuples(name=None)
    ]
    return sorted(
        rows, key=lambda row: (not row.single, round(row.cost, 2), row.means["forward_passes"])
    )


def of(ensemble: PlannedEnsemble, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one study."""
    return frame[frame["study"] == ensemble.name]


def averages(rows: Iterable[Row]) -> list[Row]:
    """The rows that average something: all but those that others are compared with."""
    return [row for row in rows if not row.reference and not row.single]


def unmixed(rows: Iterable[Row]) -> list[Row]:
    """The averages whose difference holds nothing that other arms do."""
    return [row for row in averages(rows) if row.model != EVERY]


def mixed(rows: Iterable[Row]) -> list[Row]:
    """The averages that draw on the networks of all arms."""
    return [row for row in averages(rows) if row.model == EVERY]


def size_frame(sizes: pd.DataFrame, single: Mapping[str, float]) -> pd.DataFrame:
    """The table `sizes` of one study as means over groups: label, number, metric, n, mean, low, high.

    Number 0 of every label is one model, whose means by metric are `single`.
    """
    named = sizes.rename(columns={"method": "label", "members": "number"}).astype({"value": float})
    means = banded(named, ["label", "number", "metric"], "value")
    starts = means[means["number"] == 1].drop(columns=["n", "low", "high"])
    return pd.concat(
        [starts.assign(number=0, mean=starts["metric"].map(single)), means], ignore_index=True
    )


def steps(sizes: pd.DataFrame) -> Iterator[tuple[str, int, Gain, Gain]]:
    """Method, its most members, the gain of all of them over one member, and that of the second alone."""
    for method, own in sizes.groupby("method", sort=False):
        wide = own.pivot(index=["metric", "group"], columns="members", values="value").astype(float)
        most = int(wide.columns.max())
        whole, second = (
            Gain(
                str(method),
                {
                    metric: difference(wide[size].loc[metric], wide[1].loc[metric])
                    for metric in METRICS
                },
            )
            for size in (most, 2)
        )
        yield str(method), most, whole, second


def pooled(reliability: pd.DataFrame) -> pd.DataFrame:
    """The bins of the told methods over all groups together: method, low, high, count, share, confidence, accuracy.

    Confidence and accuracy of a bin with fewer than `LEAST` images are NaN: chance alone would place it.
    """
    told = reliability[reliability["method"].isin(TOLD)]
    sums = told.assign(
        **{name: told[name].astype(float) * told["count"] for name in ("confidence", "accuracy")}
    )
    bins = (
        sums.groupby(["method", "low", "high"], sort=False)[["count", "confidence", "accuracy"]]
        .sum()
        .reset_index()
    )
    filled = bins["count"].where(bins["count"] >= LEAST)
    shares = bins["count"] / bins.groupby("method")["count"].transform("sum")
    return bins.assign(
        share=shares, confidence=bins["confidence"] / filled, accuracy=bins["accuracy"] / filled
    )


def overconfidence(reliability: pd.DataFrame) -> dict[str, Interval]:
    """Mean confidence minus accuracy of the told methods over groups: above 0 is too sure."""
    told = reliability[reliability["method"].isin(TOLD)]
    excess = (told["confidence"] - told["accuracy"]).astype(float).fillna(0.0) * told["count"]
    sums = (
        told.assign(excess=excess)
        .groupby(["method", "group"], sort=False)[["excess", "count"]]
        .sum()
    )
    means = (sums["excess"] / sums["count"]).groupby("method", sort=False)
    return {str(name): interval(values.to_numpy()) for name, values in means}


def _row(wide: pd.DataFrame, name: str, about: tuple[str, str], single: str, compared: bool) -> Row:
    """One row; `about` is its model and the way that it is compared with."""
    own, other = wide.loc[name], wide.loc[about[1]]
    known = {metric: difference(own[metric], other[metric]) for metric in (*METRICS, SCALED)}
    means = {str(metric): float(value) for metric, value in own.mean().items()}
    cost = float((own[COST] / wide.loc[single, COST]).mean()) if COST in own else nan
    return Row(name, about[0], len(own), means, cost, Gain(name, known), about[1], compared)
