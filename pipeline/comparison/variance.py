"""Where the spread of scores comes from: each stream of randomness by itself, and the test set's size.

Separate from `intervals.py`, which asks of the spread only how sure a mean is: here the spread is what is asked
about, and what to buy for less of it, seeds or test images.
"""

from collections.abc import Iterator
from math import nan, sqrt

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.comparison.intervals import LEVEL, NEGLIGIBLE, Array
from pipeline.config.plan import Plan

COLUMNS = ("arm", "stream", "n_groups", "n", "df", "variance", "sd", "low", "high")
TEST_SET = "test set"  # beside the streams: the one source of spread that no seed moves
RATIO = 2  # of two standard errors; without the lesser, both together would be at most 11 % less
SEEDS, IMAGES, BOTH, UNKNOWN = "seeds", "images", "both", ""


def components(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per (arm, stream), in the order of `scores`; the columns are `COLUMNS`.

    `scores` has columns arm, stream, group, value: one value a run. In a group every stream is fixed but the named
    one, which takes several seeds, the anchor's own among them. `variance` is the sample variance inside a group,
    pooled over groups with `df` = runs - groups degrees of freedom; `sd` is its root; low and high are the 95 %
    interval of the sd by chi-square, exact for normal values (what is skewed or heavy-tailed is covered less).

    A value that is not a number is left out, and so is a group with fewer than two. Without any group the variance is
    NaN; without spread it is 0 and has no interval.
    """
    groups = scores.groupby(["arm", "stream"], sort=False)
    return pd.DataFrame([(*key, *_pooled(rows)) for key, rows in groups], columns=list(COLUMNS))


def streams(plan: Plan, scores: pd.DataFrame, images: int) -> pd.DataFrame:
    """The components of every study of variance in a plan, of test accuracy under each arm's test rule: study and `COLUMNS`.

    `scores` as in `contrasts`, of a test set of so many images. After the streams of an arm stands `TEST_SET`, what its runs
    would differ by over other test sets: counted from their mean accuracy, so without interval.
    """
    tested = scores[(scores["split"] == "test") & (scores["metric"] == "accuracy")]
    values = tested.set_index(["fingerprint", "rule"])["value"].astype(float).to_dict()
    rules = plan.rules()
    rows = [
        (
            draw.study,
            draw.arm,
            draw.stream,
            draw.seed,
            values[draw.fingerprint, rules[draw.fingerprint]],
        )
        for draw in plan.draws
        if (draw.fingerprint, rules[draw.fingerprint]) in values
    ]
    frame = pd.DataFrame(rows, columns=["study", "arm", "stream", "group", "value"])
    parts = [
        pd.concat(
            [components(own), _test_set(str(arm), float(own["value"].mean()), images)]
        ).assign(study=study)
        for (study, arm), own in frame.groupby(["study", "arm"], sort=False)
    ]
    columns = ["study", *COLUMNS]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _test_set(arm: str, accuracy: float, images: int) -> pd.DataFrame:
    variance = finite_test_set(accuracy, images)
    return pd.DataFrame(
        [(arm, TEST_SET, 0, 0, 0, variance, sqrt(variance), nan, nan)], columns=list(COLUMNS)
    )


def finite_test_set(accuracy: float, images: int) -> float:
    """The variance p (1 - p) / images of one run's accuracy p, 0 to 1, over test sets of that many images.

    Binomial: the run stays, the test set is drawn again. It says nothing of the difference of two runs, which are
    right on much the same images: that is `image_error` of the contrasts.
    """
    return accuracy * (1 - accuracy) / images


def advice(seed_error: float, image_error: float) -> str:
    """What makes a difference surer: more "seeds", more test "images", or "both"; "" where either error is NaN.

    From its standard errors over seeds and over test images, as the contrasts have them. "both" where neither is more
    than twice the other: below that, halving the lesser still counts.
    """
    if np.isnan(seed_error) or np.isnan(image_error):
        return UNKNOWN
    if seed_error > RATIO * image_error:
        return SEEDS
    return IMAGES if image_error > RATIO * seed_error else BOTH


def _pooled(rows: pd.DataFrame) -> tuple[float, ...]:
    """All columns but arm and stream."""
    groups = [*_groups(rows)]
    n = sum(len(values) for values in groups)
    degrees = n - len(groups)
    if not groups:
        return 0, 0, 0, nan, nan, nan, nan
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in groups)
    variance = squares / degrees
    return len(groups), n, degrees, variance, sqrt(variance), *_bounds(sqrt(variance), degrees)


def _groups(rows: pd.DataFrame) -> Iterator[Array]:
    for _, group in rows.groupby("group", sort=False):
        values = group["value"].to_numpy(float)
        values = values[np.isfinite(values)]
        if len(values) > 1:
            yield values


def _bounds(sd: float, degrees: int) -> tuple[float, float]:
    """The 95 % interval of a standard deviation."""
    if sd <= NEGLIGIBLE:
        return nan, nan
    tails = stats.chi2.ppf([1 - LEVEL / 2, LEVEL / 2], degrees)
    low, high = sd * np.sqrt(degrees / tails)
    return float(low), float(high)
