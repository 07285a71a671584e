"""Pool the reliability diagrams of all groups of a study."""

import numpy as np
import pandas as pd
import scipy  # imports its parts on first use

from pipeline.comparison.intervals import Array
from pipeline.comparison.levels import LEVEL

COLUMNS = (
    *("study", "method", "low", "high", "count", "share", "confidence", "accuracy"),
    *("accuracy_low", "accuracy_high"),
)
FEWEST = 20  # images in a bin whose accuracy is known better than by chance


def pooled_bins(reliability: pd.DataFrame) -> pd.DataFrame:
    """Return the bins of every method over all groups together.

    Args:
        reliability: The table `reliability`.

    Returns:
        A table with `COLUMNS`. Bounds, share, confidence and accuracy are fractions; confidence,
        accuracy and its 95 % interval of a bin with fewer than `FEWEST` images are NaN. The
        interval is that of `exact_interval` for as many images as a group has on average in the
        bin: predictions of one image in several groups depend on each other.
    """
    means = ["confidence", "accuracy"]
    sums = reliability.assign(
        **{name: reliability[name].astype(float) * reliability["count"] for name in means}
    )
    keys = ["study", "method", "low", "high"]
    bins = sums.groupby(keys, sort=False)[["count", *means]].sum().reset_index()
    totals = bins.groupby(["study", "method"])["count"].transform("sum")
    bins["share"] = bins["count"] / totals
    bins[means] = bins[means].div(bins["count"].where(bins["count"] >= FEWEST), axis=0)
    groups = reliability.groupby(["study", "method"])["group"].nunique()
    places = pd.MultiIndex.from_frame(bins[["study", "method"]])
    images = bins["count"].to_numpy(float) / groups.reindex(places).to_numpy(float)
    ends = exact_interval(bins["accuracy"].to_numpy(float), images)
    bins["accuracy_low"], bins["accuracy_high"] = ends
    return bins[list(COLUMNS)]


def exact_interval(shares: Array, numbers: Array) -> tuple[Array, Array]:
    """Return the exact binomial 95 % interval (Clopper and Pearson, Biometrika 1934).

    Args:
        shares: (n,) Observed shares, 0 to 1; the interval of NaN is NaN.
        numbers: (n,) Of how many, not necessarily whole.

    Returns:
        Both ends (n,), 0 to 1.
    """
    hits, misses = shares * numbers, (1 - shares) * numbers
    low = scipy.special.betaincinv(hits, misses + 1, LEVEL / 2)
    high = scipy.special.betaincinv(hits + 1, misses, 1 - LEVEL / 2)
    return np.where(hits == 0, 0.0, low), np.where(misses == 0, 1.0, high)
