"""Correlate the gap with test accuracy over runs, by rank."""

import pandas as pd

from pipeline.comparison.intervals import NEGLIGIBLE

COLUMNS = ("scope", "n", "spearman")
ALL, WITHIN = "all runs", "within arms"
PAIR = ["gap", "test_accuracy"]
FEWEST = 2  # arms
DIGITS = 12  # more would let rounding break a tie of ranks


def gap_correlations(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's correlation of gap and test accuracy, over all runs and within arms.

    A run that several arms share counts once. Within arms, the mean of each arm is subtracted
    first, so that one arm that collapsed does not decide the number.

    Spearman, American Journal of Psychology 15, 1904.

    Args:
        outcomes: The table `outcomes`.

    Returns:
        A table with `COLUMNS`. The correlation is from -1 to 1, NaN for fewer than two arms and
        where either does not vary.
    """
    runs = outcomes.drop_duplicates("fingerprint")
    arms = runs.groupby(["study", "arm"])[PAIR]
    centred = (runs[PAIR] - arms.transform("mean")).round(DIGITS)
    enough = arms.ngroups >= FEWEST
    rows = [
        (scope, len(runs), _spearman(values) if enough else float("nan"))
        for scope, values in ((ALL, runs[PAIR]), (WITHIN, centred))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _spearman(values: pd.DataFrame) -> float:
    spread = values.max() - values.min()
    if not (spread > NEGLIGIBLE).all():
        return float("nan")
    return float(values["gap"].corr(values["test_accuracy"], method="spearman"))
