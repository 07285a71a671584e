"""Split the variance of scores into components: each stream of randomness, and the test set."""

from math import nan, sqrt

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.comparison.intervals import NEGLIGIBLE
from pipeline.comparison.levels import LEVEL, PRIMARY
from pipeline.config.plan import BASELINE, Plan

COLUMNS = ("arm", "stream", "n_groups", "n", "df", "variance", "sd", "low", "high")
ERRORS = ("n", "seed_error", "image_error", "total_error", "advice")
TEST_SET = "test set"  # the source of variance that no seed changes
RATIO = 2  # ratio of standard errors: without the smaller one, their sum is at most 11 % less
SPLIT = "split"  # the stream that draws training examples from the pool
POOLS = ("study", "arm", "split_sd", "factor", "most")
SEEDS, IMAGES, BOTH, UNKNOWN = "seeds", "images", "both", ""


def components(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (arm, stream), in the order of `scores`.

    `variance` is the sample variance inside a group, pooled over groups with `df` = runs - groups
    degrees of freedom; `sd` is its root; low and high are the 95 % interval of the sd by
    chi-square, which is exact for normal values. Values that are not finite and groups with fewer
    than two values are left out.

    Args:
        scores: Columns arm, stream, group, value: one row per run. In a group only the stream of
            the row varies.

    Returns:
        A table with `COLUMNS`. Without any group the variance is NaN; without spread it is 0 and
        has no interval.
    """
    groups = scores.groupby(["arm", "stream"], sort=False)
    return pd.DataFrame([(*key, *_pooled(rows)) for key, rows in groups], columns=list(COLUMNS))


def streams(plan: Plan, scores: pd.DataFrame, images: int) -> pd.DataFrame:
    """Return the components of test accuracy in every study of variance: study and `COLUMNS`.

    The last row of an arm is `TEST_SET`, the variance over other test sets of that size, from the
    mean accuracy of its runs.

    Args:
        plan: The confirmation plan.
        scores: The table `scores`.
        images: The size of the test set.
    """
    parts = [
        pd.concat(
            [components(rows), _test_set(str(arm), float(rows["value"].mean()), images)]
        ).assign(study=study)
        for (study, arm), rows in _accuracies(plan, scores).groupby(["study", "arm"], sort=False)
    ]
    columns = ["study", *COLUMNS]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _accuracies(plan: Plan, scores: pd.DataFrame) -> pd.DataFrame:
    """Return the test accuracy of every scored run of a study of variance, as `value`.

    Args:
        plan: The confirmation plan.
        scores: The table `scores`.
    """
    tested = scores[(scores["split"] == "test") & (scores["metric"] == "accuracy")]
    keys = ["fingerprint", "view", "members"]
    values = tested.set_index(keys)["value"].astype(float).to_dict()
    rules = plan.rules()
    rows = []
    for run in plan.runs_of("variance"):
        rule = rules[run.fingerprint]
        value = values.get((run.fingerprint, rule.view, rule.members))
        if value is not None:
            rows.append((run.study, run.arm, run.stream, run.seed, run.draw, value))
    return pd.DataFrame(rows, columns=["study", "arm", "stream", "group", "draw", "value"])


def pools(plan: Plan, scores: pd.DataFrame, contrasts: pd.DataFrame, examples: int) -> pd.DataFrame:
    """Return the factor by which intervals are too narrow for another pool of training examples.

    Every seed draws its training examples from the same pool. If the split causes a variance s^2
    there, another pool would add s^2 f / (1 - f), with the share f of the pool that a run trains
    on. More seeds do not reduce it (sampling without replacement).

    Cochran, Sampling Techniques, 1977, finite population correction.

    Args:
        plan: The confirmation plan.
        scores: The table `scores`.
        contrasts: The table `contrasts`.
        examples: The size of the pool.

    Returns:
        A row for every arm of a study of variance but the baseline, or one without an arm: study,
        arm, `split_sd` (of the difference to the baseline when the split alone is drawn again),
        `factor` (of the interval with the median spread and number of seeds of the contrasts), and
        `most`: the factor if the split made all of that spread. NaN where the pool is not larger
        than what a run trains on, or too few runs are done.
    """
    accuracies = _accuracies(plan, scores)
    judged = contrasts[(contrasts["metric"] == PRIMARY) & ~contrasts["repeats"].astype(bool)]
    n, error = judged[["n", "seed_error"]].astype(float).median()
    share = plan.settings["data"]["train_size"] / examples
    most = pool_factor(error * sqrt(n), n, error, share)
    rows = []
    for study, of_study in accuracies[accuracies["stream"] == SPLIT].groupby("study", sort=False):
        table = of_study.pivot(index=["group", "draw"], columns="arm", values="value")
        for arm in table.columns.drop(BASELINE, errors="ignore"):
            if BASELINE in table:
                differences = (table[arm] - table[BASELINE]).to_numpy(float)
                groups = table.index.get_level_values("group")
                *_, sd, _, _ = _pooled(pd.DataFrame({"group": groups, "value": differences}))
                rows.append((study, arm, sd, pool_factor(sd, n, error, share), most))
    return pd.DataFrame(rows or [("", "", nan, nan, most)], columns=list(POOLS))


def pool_factor(split_sd: float, n: float, error: float, share: float) -> float:
    """Return the factor of an interval for another pool of training examples; NaN if unknown.

    By the finite population correction: Cochran, Sampling Techniques, 1977.

    Args:
        split_sd: The standard deviation of a difference when the split alone is drawn again.
        n: The number of seeds.
        error: The standard error over seeds.
        share: The share of the pool that a run trains on.
    """
    if not (0 < share < 1 and error > 0):
        return nan
    return sqrt(1 + split_sd**2 * share / (1 - share) / error**2) if n > 1 else nan


def _test_set(arm: str, accuracy: float, images: int) -> pd.DataFrame:
    variance = finite_test_set(accuracy, images)
    return pd.DataFrame(
        [(arm, TEST_SET, 0, 0, 0, variance, sqrt(variance), nan, nan)], columns=list(COLUMNS)
    )


def finite_test_set(accuracy: float, images: int) -> float:
    """Return the variance p (1 - p) / images of a run's accuracy p over test sets.

    This is binomial, and not the variance of the difference of two runs, which are right on mostly
    the same images: of that, `image_error` of the contrasts is what images add.

    Args:
        accuracy: The accuracy p, 0 to 1.
        images: The size of the test set.
    """
    return accuracy * (1 - accuracy) / images


def advice(seed_error: float, image_error: float) -> str:
    """Return how to reduce the error of a difference: by "seeds", test "images" or "both".

    Args:
        seed_error: The standard error of the difference over seeds.
        image_error: What the choice of test images adds to it, in the same units.

    Returns:
        "both" where neither is more than twice the other, and "" where either is NaN.
    """
    if np.isnan(seed_error) or np.isnan(image_error):
        return UNKNOWN
    if seed_error > RATIO * image_error:
        return SEEDS
    return IMAGES if image_error > RATIO * seed_error else BOTH


def standard_errors(contrasts: pd.DataFrame) -> pd.DataFrame:
    """Return the median standard errors of the contrasts, over seeds and with images, one row.

    Args:
        contrasts: The table `contrasts`.

    Returns:
        A table with the columns `ERRORS`: the errors are fractions, n counts the contrasts that
        have both, and `advice` is that of the function of this name.
    """
    distinct = contrasts[~contrasts["repeats"]]
    errors = distinct[["seed_error", "image_error", "total_error"]].dropna()
    seeds, images, total = errors.median()
    row = len(errors), seeds, images, total, advice(seeds, images)
    return pd.DataFrame([row], columns=list(ERRORS))


def _pooled(rows: pd.DataFrame) -> tuple[float, ...]:
    """Return all columns but arm and stream."""
    groups = []
    for _, group in rows.groupby("group", sort=False):
        values = group["value"].to_numpy(float)
        values = values[np.isfinite(values)]
        if len(values) > 1:
            groups.append(values)
    if not groups:
        return 0, 0, 0, nan, nan, nan, nan
    n = sum(len(values) for values in groups)
    degrees = n - len(groups)
    variance = sum(float(((values - values.mean()) ** 2).sum()) for values in groups) / degrees
    sd, low, high = sqrt(variance), nan, nan
    if sd > NEGLIGIBLE:
        tails = stats.chi2.ppf([1 - LEVEL / 2, LEVEL / 2], degrees)
        low, high = (sd * np.sqrt(degrees / tails)).tolist()
    return len(groups), n, degrees, variance, sd, low, high
