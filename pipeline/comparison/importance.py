"""Measure which hyperparameters matter for a good score, and which cannot be told apart."""

import warnings
from collections.abc import Sequence
from math import inf, isnan, nan
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pipeline.comparison.designs import Design
from pipeline.comparison.levels import LEVEL, SMALL_DESIGN
from pipeline.config.streams import derive

if TYPE_CHECKING:
    import optuna

IMPORTANCE = (
    *("study", "arm", "hyperparameter", "importance", "low", "high", "chance"),
    *("first_rank", "last_rank", "rival", "lead", "lead_low", "lead_high"),
)
HALVES = 60  # halves of the trials, drawn at random
SHUFFLES = 400  # shuffles of scores among trials
TOP = 0.1  # share of the best trials; importance is the influence on being among them

Array = NDArray[np.float64]


def importance(study: str, arm: str, design: Design) -> pd.DataFrame:
    """Return the importance of every hyperparameter of a design, with an interval and ranks.

    Importance is the share in the sum over hyperparameters of PED-ANOVA: how far the distribution
    of its values among the best tenth of the trials is from that among all (Watanabe et al., IJCAI
    2023; computed by Optuna). A trial with a lost run counts as the worst.

    The interval is by the delete-half jackknife, see `Design.half`. A bootstrap is no alternative:
    repeated trials look like a concentration of values, so that hyperparameters without effect
    would seem important (benchmarks/measure_searches.py).

    Args:
        study: The name of the study.
        arm: The name of the arm.
        design: Its design.

    Returns:
        A table with the columns `IMPORTANCE`, the largest first: shares with the bounds of a 95 %
        interval; `chance`, what the largest of all hyperparameters stays below in 95 % of shuffled
        scores; the first and the last rank that the intervals leave: hyperparameters whose
        intervals overlap are not ranked; `lead`, its share minus that of its `rival`, the other one
        that it is least certainly above, with a 95 % interval that holds for all others
        (Bonferroni). No rows with fewer than `SMALL_DESIGN` trials.

    Raises:
        ModuleNotFoundError: Optuna is not installed; from `SMALL_DESIGN` trials on.
    """
    count = len(design.values)
    if count < SMALL_DESIGN:
        return pd.DataFrame(columns=list(IMPORTANCE))
    generator = np.random.default_rng(derive(0, "importance", study, arm))
    trials = study_of(design)
    sizes = divergences(design, trials, design.ranked)
    estimate = _shares(sizes)
    halves = [_among(design.ranked, design.half(generator)) for _ in range(HALVES)]
    drawn = np.array([_shares(divergences(design, trials, kept)) for kept in halves])
    width = stats.t.ppf(1 - LEVEL / 2, HALVES - 1) * np.std(drawn, axis=0, ddof=1)
    shuffled = [
        divergences(design, trials, generator.permutation(design.ranked)).max()
        for _ in range(SHUFFLES)
    ]
    low, high = (estimate - width).clip(0, 1), (estimate + width).clip(0, 1)
    first, last = ranks(low, high)
    columns = {
        "hyperparameter": list(design.spaces),
        "importance": estimate,
        "low": low,
        "high": high,
        "chance": min(1.0, np.quantile(shuffled, 1 - LEVEL) / sizes.sum()),
        "first_rank": first,
        "last_rank": last,
        **leads(list(design.spaces), estimate, drawn),
    }
    table = pd.DataFrame(columns).assign(study=study, arm=arm)
    ordered = table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)
    return ordered[list(IMPORTANCE)]


def leads(names: Sequence[str], shares: Array, drawn: Array) -> dict[str, list[Any]]:
    """Return the lead of each share over its rival.

    The rival is the other share over which the lead is smallest in standard errors.

    Args:
        names: Of the shares (k,).
        shares: The shares (k,).
        drawn: Those of halves (halves, k), whose spread is the error.

    Returns:
        `rival`, `lead`, `lead_low` and `lead_high` of each; empty and NaN without another one or
        without spread.
    """
    others = max(len(names) - 1, 1)
    quantile = float(stats.t.ppf(1 - LEVEL / 2 / others, len(drawn) - 1))
    columns: dict[str, list[Any]] = {"rival": [], "lead": [], "lead_low": [], "lead_high": []}
    for number, share in enumerate(shares):
        differences = share - shares
        errors = np.std(drawn[:, [number]] - drawn, axis=0, ddof=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            certainty = np.where(errors > 0, differences / errors, inf)
        rival = int(np.argmin(certainty))
        lead = float(differences[rival]) if np.isfinite(certainty[rival]) else nan
        width = quantile * float(errors[rival])
        columns["rival"].append("" if isnan(lead) else names[rival])
        columns["lead"].append(lead)
        columns["lead_low"].append(lead - width)
        columns["lead_high"].append(lead + width)
    return columns


def ranks(low: Array, high: Array) -> tuple[list[int], list[int]]:
    """Return the best and the worst rank of each hyperparameter that the intervals allow.

    Args:
        low: Lower bounds (k,).
        high: Upper bounds (k,).
    """
    count = len(low)
    certainly_above = [int((low > bound).sum()) for bound in high]
    certainly_below = [int((high < bound).sum()) for bound in low]
    first = [1 + number for number in certainly_above]
    last = [count - number for number in certainly_below]
    return first, last


def study_of(design: Design) -> "optuna.Study":
    """Return the points of a design as the trials of a study of Optuna, in their order.

    Args:
        design: The design.

    Raises:
        ModuleNotFoundError: Optuna is not installed.
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
        for number, score in enumerate(design.ranked)
    ]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return study


def divergences(design: Design, study: "optuna.Study", scores: Array) -> Array:
    """Return the importance of each hyperparameter by PED-ANOVA, not divided by their sum.

    Watanabe, Bansal and Hutter, PED-ANOVA, IJCAI 2023; computed by Optuna.

    Args:
        design: The design.
        study: What `study_of` returns for it; to fill one takes longer than to evaluate it.
        scores: The scores of its points (points,); NaN if a point is left out.

    Returns:
        Sizes (hyperparameters,).

    Raises:
        ModuleNotFoundError: Optuna is not installed.
    """
    from optuna.importance import PedAnovaImportanceEvaluator

    losses = -scores
    evaluator = PedAnovaImportanceEvaluator(target_quantile=TOP)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that low targets are good; where all scores are equal
        by_name = evaluator.evaluate(study, target=lambda trial: float(losses[trial.number]))
    return np.array([by_name[name] for name in design.spaces])


def _among(scores: Array, points: NDArray[np.int64]) -> Array:
    """Return the scores of the given points; NaN for all other points."""
    kept: Array = np.full(len(scores), nan)
    kept[points] = scores[points]
    return kept


def _shares(sizes: Array) -> Array:
    """Return each size as a share of the sum of its row; NaN if no hyperparameter has any."""
    totals = sizes.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        result: Array = np.where(totals > 0, sizes / totals, nan)
    return result


def _params(design: Design, number: int) -> dict[str, float | int]:
    """Return the values of a point for Optuna: a place in [0, 1], or an index of a list."""
    spaces = zip(design.spaces.items(), design.values[number], design.places[number], strict=True)
    return {
        name: space.values.index(value) if space.values else float(place)
        for (name, space), value, place in spaces
    }
