"""Measure which hyperparameters matter for a good score, and which cannot be told apart."""

import warnings
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.designs import Design
from pipeline.comparison.levels import LEVEL
from pipeline.config.streams import derive

IMPORTANCE = (
    *("study", "arm", "hyperparameter", "importance", "low", "high", "chance"),
    *("first_rank", "last_rank", "resamples"),
)
RESAMPLES = 200  # of trials and seeds
SHUFFLES = 100  # of scores among trials
TOP = 0.1  # of the trials; importance is what decides whether a trial is among them
FEWEST = 50  # trials, so that 5 are among the best

Array = NDArray[np.float64]


def importance(study: str, arm: str, design: Design) -> pd.DataFrame:
    """Return the importance of every hyperparameter of a design, with an interval and ranks.

    Importance is the share in the sum over hyperparameters of PED-ANOVA: how far the distribution
    of its values among the best tenth of the trials is from that among all (Watanabe et al., IJCAI
    2023; computed by Optuna). A trial with a lost run counts as the worst.

    Args:
        study: The name of the study.
        arm: The name of the arm.
        design: Its design.

    Returns:
        A table with the columns `IMPORTANCE`, the largest first: shares with the bounds of a 95 %
        percentile bootstrap over trials and seeds; `chance`, the importance that 95 % of shuffled
        scores stay below; the first and the last rank that the intervals leave: hyperparameters
        whose intervals overlap are not ranked. No rows with fewer than `FEWEST` trials.
    """
    names = list(design.spaces)
    count = len(design.values)
    if count < FEWEST:
        return pd.DataFrame(columns=list(IMPORTANCE))
    generator = np.random.default_rng(derive(0, "importance", study, arm))
    everything = np.arange(count)
    estimate = shares(design, everything, design.ranked)
    drawn = np.array([shares(design, *design.redrawn(generator)) for _ in range(RESAMPLES)])
    shuffled = np.array(
        [shares(design, everything, generator.permutation(design.ranked)) for _ in range(SHUFFLES)]
    )
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    chance = np.quantile(shuffled, 1 - LEVEL, axis=0)
    first, last = ranks(low, high)
    columns = {
        "hyperparameter": names,
        "importance": estimate,
        "low": low,
        "high": high,
        "chance": chance,
        "first_rank": first,
        "last_rank": last,
    }
    table = pd.DataFrame(columns).assign(study=study, arm=arm, resamples=RESAMPLES)
    ordered = table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)
    return ordered[list(IMPORTANCE)]


def ranks(low: Array, high: Array) -> tuple[list[int], list[int]]:
    """Return the first and the last rank of each that intervals leave open.

    Args:
        low: Lower bounds (k,).
        high: Upper bounds (k,).
    """
    count = len(low)
    above = [int((low > each).sum()) for each in high]
    below = [int((high < each).sum()) for each in low]
    return [1 + number for number in above], [count - number for number in below]


def shares(design: Design, points: NDArray[np.int64], scores: Array) -> Array:
    """Return the importance of each hyperparameter as a share of their sum.

    Args:
        design: The design.
        points: The numbers of the points, also repeated ones.
        scores: Their scores.

    Returns:
        Shares (hyperparameters,), NaN where no hyperparameter has any.
    """
    import optuna  # an extra, and slow

    kinds: dict[str, optuna.distributions.BaseDistribution] = {
        name: (
            optuna.distributions.CategoricalDistribution(range(len(space.values)))
            if space.values
            else optuna.distributions.FloatDistribution(0, 1)
        )
        for name, space in design.spaces.items()
    }
    trials = [
        optuna.trial.create_trial(
            params=_params(design, number), distributions=kinds, value=float(score)
        )
        for number, score in zip(points, scores, strict=True)
    ]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=TOP)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where all scores are equal
        found = evaluator.evaluate(study)
    sizes = np.array([found[name] for name in kinds])
    total = sizes.sum()
    result: Array = sizes / total if total > 0 else np.full(len(sizes), nan)
    return result


def _params(design: Design, number: int) -> dict[str, float | int]:
    """Return the values of a point as Optuna has them: a place in [0, 1], or a number in a list."""
    spaces = zip(design.spaces.items(), design.values[number], design.places[number], strict=True)
    return {
        name: space.values.index(value) if space.values else float(place)
        for (name, space), value, place in spaces
    }
