"""Compare the chosen setting of an arm with its default and its first one, paired by seed.

It carries no verdict and is not corrected.
"""

import pandas as pd

from pipeline.comparison.intervals import interval, mean
from pipeline.comparison.levels import PRIMARY
from pipeline.comparison.matching import Outcomes, compared
from pipeline.config.plan import BASELINE, Plan

COLUMNS = (
    *("arm", "other", "setting", "other_setting", "n", "chosen_mean", "other_mean"),
    *("difference", "low", "high", "excludes_zero"),
)


def overtuning(plan: Plan, outcomes: Outcomes) -> pd.DataFrame:
    """Return one row for each setting that a chosen one is compared with.

    Args:
        plan: The confirmation plan.
        outcomes: States, machines and scores of its runs.

    Returns:
        A table with `COLUMNS`: the names of the arm with its chosen setting and with the other one,
        both settings, the number of seeds, the means of test accuracy (fractions), and chosen minus
        other with its 95 % interval. Undefined numbers are NaN.

    Raises:
        Refusal: A run that is done has no score.
    """
    rows = []
    for arm in compared(plan, "overtuning"):
        chosen, other = arm.pair()
        if chosen.described.name == BASELINE:
            continue
        sides, _ = outcomes.sides((chosen, other))
        of_chosen, of_other = outcomes.values(sides, (chosen, other), PRIMARY)
        between = interval(of_chosen - of_other)
        settings = [next(iter(one.runs.values())).setting for one in (chosen, other)]
        names = chosen.described.name, other.described.name
        means = mean(of_chosen), mean(of_other)
        bounds = between.mean, between.low, between.high, between.excludes_zero
        rows.append((*names, *settings, between.n, *means, *bounds))
    return pd.DataFrame(rows, columns=list(COLUMNS))
