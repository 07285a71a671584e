"""Summarize the wall-clock times of every arm that were measured on this machine."""

from collections.abc import Mapping

import pandas as pd

from pipeline.comparison.arms import planned_runs
from pipeline.config.plan import BASELINE, Plan

MEASURED = "measured here"


def timing(plan: Plan, seconds: Mapping[str, float]) -> pd.DataFrame:
    """Return the median seconds of fit of every arm's runs and their ratio to the baseline's.

    Args:
        plan: The confirmation plan.
        seconds: The seconds of fit of the runs whose time is known, by fingerprint.

    Returns:
        A table with the columns study, arm, n, median_seconds, ratio, source; NaN for an arm
        without a time.
    """
    runs = planned_runs(plan)
    shared = (runs["arm"] == BASELINE) & (runs["study"] != plan.studies[0].name)
    clocks = runs[~shared].assign(seconds=runs["fingerprint"].map(dict(seconds)).astype(float))
    grouped = clocks.groupby(["study", "arm"], sort=False)["seconds"]
    medians = grouped.agg(n="count", median_seconds="median").reset_index()
    baseline = medians.loc[medians["arm"] == BASELINE, "median_seconds"].iloc[0]
    return medians.assign(ratio=medians["median_seconds"] / baseline, source=MEASURED)
