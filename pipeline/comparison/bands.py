"""Compute the mean and its Student-t interval in every group of a table."""

from collections.abc import Sequence

import pandas as pd

from pipeline.comparison.intervals import half_width

BAND = ("n", "mean", "low", "high")


def bands(frame: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Return n, mean, low and high of the column `value` for every group, in order of appearance.

    Missing values do not count in n. The bounds are of the 95 % interval, NaN for n < 2; a group
    whose values are all equal has them at its mean.

    Args:
        frame: A table with the columns `by` and `value`.
        by: The columns that name a group.
        value: The column of the values.

    Returns:
        A table with the columns `by` and `BAND`.
    """
    grouped = frame.groupby(list(by), sort=False)[value]
    table = grouped.agg(n="count", mean="mean", error="sem").reset_index()
    half = half_width(table["error"].to_numpy(float), table["n"].to_numpy())
    table = table.assign(low=table["mean"] - half, high=table["mean"] + half)
    return table[[*by, *BAND]]
