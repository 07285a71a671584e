"""Pool the reliability diagrams of all groups of a study."""

import pandas as pd

COLUMNS = ("study", "method", "low", "high", "count", "share", "confidence", "accuracy")
FEWEST = 20  # images in a bin whose accuracy is known better than by chance


def pooled_bins(reliability: pd.DataFrame) -> pd.DataFrame:
    """Return the bins of every method over all groups together.

    Args:
        reliability: The table `reliability`.

    Returns:
        A table with `COLUMNS`. Bounds, share, confidence and accuracy are fractions; confidence and
        accuracy of a bin with fewer than `FEWEST` images are NaN.
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
    return bins[list(COLUMNS)]
