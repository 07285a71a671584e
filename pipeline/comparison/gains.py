"""Compute the gain of averaging over more members: paired differences by number of members."""

from collections.abc import Sequence

import pandas as pd

from pipeline.comparison.arms import planned_runs
from pipeline.comparison.bands import BAND, bands
from pipeline.comparison.intervals import interval
from pipeline.config.plan import Plan
from pipeline.config.test_rules import DETERMINISTIC

GAIN = ("pairs", "difference", "difference_low", "difference_high")
PASSES = ("study", "arm", "passes", "metric")
MEMBERS = ("study", "method", "members", "metric")


def gain(differences: pd.Series) -> dict[str, float]:
    """Return the mean of paired differences with its interval, under the keys `GAIN`.

    Args:
        differences: (pairs,), in any unit. NaN, for a pair without a difference, is ignored.

    Returns:
        The number of pairs, the mean, and the bounds of `intervals.interval`.
    """
    estimate = interval(differences.dropna().to_numpy(float))
    return dict(zip(GAIN, (estimate.n, estimate.mean, estimate.low, estimate.high), strict=True))


def pass_gains(plan: Plan, passes: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return test scores by the number of noise passes averaged, and their gain over no noise.

    Number 0 is the deterministic score, with which the other scores are paired by seed.

    Args:
        plan: The confirmation plan.
        passes: The table `passes`.
        scores: The table `scores`.

    Returns:
        A table with the columns `PASSES`, `BAND` and `GAIN`.
    """
    columns = ["fingerprint", "passes", "metric", "value"]
    deterministic = scores[(scores["view"] == DETERMINISTIC.view) & (scores["split"] == "test")]
    shared = deterministic["metric"].isin(set(passes["metric"]))
    noisy = deterministic["fingerprint"].isin(set(passes["fingerprint"]))
    start = deterministic[shared & noisy].assign(passes=0)
    runs = planned_runs(plan)
    parts = [runs.merge(part[columns], on="fingerprint") for part in (start, passes)]
    frame = pd.concat(parts, ignore_index=True).astype({"passes": int, "value": float})
    return _gains(frame, PASSES, pair="seed", reference=0)


def member_gains(sizes: pd.DataFrame) -> pd.DataFrame:
    """Return test scores by the number of members averaged, and their gain over one member.

    Args:
        sizes: The table `sizes`.

    Returns:
        A table with the columns `MEMBERS`, `BAND` and `GAIN`, paired by group.
    """
    frame = sizes.astype({"members": int, "value": float})
    return _gains(frame, MEMBERS, pair="group", reference=1)


def _gains(frame: pd.DataFrame, keys: Sequence[str], *, pair: str, reference: int) -> pd.DataFrame:
    """Return bands of `value` by `keys`, and the paired gains; the third key is the number."""
    number = keys[2]
    common = [name for name in keys if name != number]
    starts = frame.loc[frame[number] == reference, [*common, pair, "value"]]
    paired = frame.merge(starts, on=[*common, pair], how="left", suffixes=("", "_start"))
    paired["difference"] = paired["value"] - paired["value_start"]
    rows = [
        dict(zip(keys, key, strict=True)) | gain(differences)
        for key, differences in paired.groupby(list(keys), sort=False)["difference"]
    ]
    table = pd.DataFrame(rows, columns=[*keys, *GAIN])
    return bands(frame, keys, "value").merge(table, on=list(keys))[[*keys, *BAND, *GAIN]]
