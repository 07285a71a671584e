"""Propose the trials of a search, round by round.

Each method is a pure function of the trials that have finished: of equal spaces, trials and seed it
proposes equal ones, for any order in which the trials ended.
"""

import importlib.metadata
import importlib.util
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, inf, isnan, prod
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from pipeline.config.schema import Method
from pipeline.config.settings import Settings
from pipeline.config.streams import derive
from pipeline.planning.spaces import MOST_SETTINGS, Space
from pipeline.runtime.errors import Refusal

Values = tuple[Any, ...]
Array = np.ndarray[Any, Any]
ADAPTIVE: tuple[Method, ...] = ("coarse_to_fine", "halving", "tpe")  # later rounds need scores
SHORTENS: tuple[Method, ...] = ("coarse_to_fine", "halving")  # some schedules are short
DIMENSIONS = 256  # dimensions of the Sobol sequence; projections on two of them are good
BITS = 30  # bits of a coordinate of the sequence
DRAWS = 16  # times the settings of a design: so often it is drawn until they are distinct
EPSILON = 1e-9  # tolerance of a share of a schedule
TOP = 1 - 1e-9  # highest quantile of tpe: a space has none at 1
TWO_VALUES = " with two values of each range"  # text of an error on the smallest grid
STREAM = 0  # the seed of all searches: equal spaces have equal points in every arm


class Search(Settings):
    """How the settings of an arm are searched, over all its spaces at once.

    Sources: Bergstra and Bengio, Random Search for Hyper-Parameter Optimization, JMLR 13, 2012
    (random); Sobol, USSR Comput. Math. Math. Phys. 7, 1967, with a random digital shift (sobol);
    Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization,
    AISTATS 2016 (halving); Bergstra, Bardenet, Bengio and Kegl, Algorithms for Hyper-Parameter
    Optimization, NIPS 2011 (tpe).

    Attributes:
        method: grid: a grid of at most `trials` settings; random: independent draws; sobol:
            quasi-random, a power of 2 settings; coarse_to_fine: random settings with short
            schedules, then settings near the best with whole ones; halving: random settings with
            short schedules, of which the best 1/eta of each round go on to schedules eta times as
            long; tpe: the tree-structured Parzen estimator of Optuna, which needs the extra
            `optuna`.
        trials: The number of settings.
        eta: For halving: the factor between rounds. For coarse_to_fine: the factor by which the
            first schedules are shorter and the later ranges narrower.
        batch: The number of settings in each round of tpe.
    """

    method: Method
    trials: int = Field(ge=2, le=MOST_SETTINGS)
    eta: int = Field(3, ge=2, le=10)
    batch: int = Field(4, ge=1, le=MOST_SETTINGS)

    @model_validator(mode="after")
    def _keys_are_used(self) -> Self:
        if "eta" in self.model_fields_set and self.method not in SHORTENS:
            raise ValueError(f"eta only with {' or '.join(SHORTENS)}")
        if "batch" in self.model_fields_set and self.method != "tpe":
            raise ValueError("batch only with tpe")
        return self

    @property
    def is_adaptive(self) -> bool:
        """Return whether later rounds depend on the scores of earlier ones."""
        return self.method in ADAPTIVE

    def acting(self) -> dict[str, Any]:
        """Return the values that its method uses, with the version of Optuna for tpe."""
        keys = {"method", "trials"}
        if self.method != "tpe":
            keys |= {"eta"} if self.method in SHORTENS else set()
            return self.model_dump(mode="json", include=keys)
        values = self.model_dump(mode="json", include=keys | {"batch"})
        return {**values, "optuna": importlib.metadata.version("optuna")}


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that has ended.

    Attributes:
        values: Its values, in the order of the spaces.
        budget: The share of the whole schedule that it was trained for, in (0, 1].
        score: Its mean validation accuracy, nan if a run diverged or failed.
    """

    values: Values
    budget: float
    score: float


@dataclass(frozen=True)
class ProposedTrial:
    """A trial to train.

    Attributes:
        values: Its values, in the order of the spaces.
        budget: The share of the whole schedule to train it for, in (0, 1].
    """

    values: Values
    budget: float = 1.0


def propose(
    spaces: Mapping[str, Space],
    search: Search,
    finished: Sequence[FinishedTrial] = (),
    seed: int = STREAM,
) -> list[ProposedTrial]:
    """Return the trials of the next round.

    `Search` has the sources of the methods.

    Args:
        spaces: The spaces by the full name of their key, as in dropout.rate.
        search: The method, and how many trials.
        finished: All trials of the rounds before, in any order. They need not have the values that
            were proposed: a replay has others near them.
        seed: The seed of all draws.

    Returns:
        The trials, each once; empty if the search has ended.
    """
    if search.method == "halving":
        return _halving(spaces, search, finished, seed)
    if search.method == "coarse_to_fine":
        return _coarse_to_fine(spaces, search, finished, seed)
    if search.method == "tpe":
        return _tpe(spaces, search, finished, seed)
    return [] if finished else [ProposedTrial(values) for values in design(spaces, search, seed)]


def design(spaces: Mapping[str, Space], search: Search, seed: int = STREAM) -> list[Values]:
    """Return the settings of a grid, of random draws or of a Sobol sequence, each setting once.

    On lists and integers several points may be the same setting. Then the design goes on until it
    has as many settings as it should, or has drawn `DRAWS` times as many points.

    Every hyperparameter draws from a stream of its own, so that its values do not depend on the
    other hyperparameters.

    `Search` has the sources of the methods.

    Args:
        spaces: The spaces by the full name of their key, as in dropout.rate.
        search: The method, one that is not adaptive, and the number of settings.
        seed: The seed of all streams.
    """
    if search.method == "grid":
        return _grid(spaces, search.trials)
    return _drawn(spaces, search, seed)


def rounds(search: Search) -> list[tuple[int, float]]:
    """Return the largest number of trials of each round, and their share of the whole schedule.

    The first round of halving has all trials. Each further one has 1/eta of them and schedules eta
    times as long. The last has whole schedules and the last trials, fewer than eta.

    Successive halving: Jamieson and Talwalkar, AISTATS 2016.

    Args:
        search: A search with its method, trials, eta and batch.

    Returns:
        For each round: trials, and the share of the epochs in (0, 1].
    """
    if search.method == "halving":
        last = 0
        while search.eta ** (last + 1) <= search.trials:
            last += 1
        powers = [(search.eta**number, search.eta ** (last - number)) for number in range(last + 1)]
        return [(search.trials // divisor, 1 / factor) for divisor, factor in powers]
    if search.method == "coarse_to_fine":
        fine = search.trials // 2
        return [(search.trials - fine, 1 / search.eta), (fine, 1.0)]
    if search.method == "tpe":
        starts = range(0, search.trials, search.batch)
        return [(min(search.batch, search.trials - start), 1.0) for start in starts]
    return [(search.trials, 1.0)]


def least_grid(spaces: Sequence[Space]) -> int:
    """Return the settings of the smallest grid: all listed values, and two of each other range.

    Args:
        spaces: The search spaces of an arm.
    """
    return prod(len(space.values) or 2 for space in spaces)


def scored_shares(epochs: int, points: int) -> list[float]:
    """Return the shares of a schedule at which a learning curve has a score, ascending to 1.

    Args:
        epochs: Those of the schedule.
        points: About how many scores it should have (`training.curve_points`).
    """
    every = ceil(epochs / points)
    return [
        epoch / epochs for epoch in range(1, epochs + 1) if epoch % every == 0 or epoch == epochs
    ]


def has_stops(search: Search, epochs: int, points: int) -> bool:
    """Return whether a learning curve has a score of its own for each round of a search.

    A trial is stopped at the first score at or after its budget. Rounds with the same score would
    be one round.

    Args:
        search: The search.
        epochs: Those of a whole schedule.
        points: About how many scores a learning curve has (`training.curve_points`).
    """
    shares = scored_shares(epochs, points)
    budgets = {budget for _, budget in rounds(search)}
    scores = set()
    for budget in budgets:
        scores.add(next(share for share in shares if share >= budget - EPSILON))
    return len(scores) == len(budgets)


def require_optuna(where: str, use: str = "tpe") -> None:
    """Check that Optuna is installed.

    Args:
        where: The file and the key that need it, for the error.
        use: What needs it there.

    Raises:
        Refusal: It is not.
    """
    if importlib.util.find_spec("optuna") is None:
        raise Refusal(f"{where}: {use} needs optuna; run: pip install '.[optuna]'")


def _halving(
    spaces: Mapping[str, Space], search: Search, finished: Sequence[FinishedTrial], seed: int
) -> list[ProposedTrial]:
    planned = rounds(search)
    number = len({trial.budget for trial in finished})
    if number == 0:
        return [ProposedTrial(values, planned[0][1]) for values in _drawn(spaces, search, seed)]
    if number == len(planned):
        return []
    last = [trial for trial in finished if trial.budget == planned[number - 1][1]]
    size, budget = planned[number]
    top_trials = [trial for trial in _ranked(last) if not isnan(trial.score)][:size]
    return [ProposedTrial(trial.values, budget) for trial in top_trials]


def _coarse_to_fine(
    spaces: Mapping[str, Space], search: Search, finished: Sequence[FinishedTrial], seed: int
) -> list[ProposedTrial]:
    """Propose half of the trials with short schedules, then the best and others around it.

    Ranges narrow to 1/eta of their length, about the best value; lists to the values of the best
    1/eta of the trials.
    """
    (first, budget), (second, _) = rounds(search)
    if not finished:
        coarse = search.model_copy(update={"trials": first})
        return [ProposedTrial(values, budget) for values in _drawn(spaces, coarse, seed)]
    ranked = [trial for trial in _ranked(finished) if not isnan(trial.score)]
    if not ranked or any(trial.budget > budget for trial in finished):
        return []
    best = ranked[0].values
    top_trials = ranked[: max(len(ranked) // search.eta, 1)]
    narrow, windows = _narrowed(spaces, top_trials, 1 / search.eta)
    fine = search.model_copy(update={"trials": second})
    drawn = _drawn(narrow, fine, derive(seed, "fine"), windows)
    others = [values for values in drawn if values != best]
    return [ProposedTrial(values) for values in [best, *others][:second]]


def _narrowed(
    spaces: Mapping[str, Space], top_trials: Sequence[FinishedTrial], length: float
) -> tuple[dict[str, Space], dict[str, tuple[float, float]]]:
    """Return spaces with the listed values of the top trials, and a window of each range.

    A window of quantiles has the given length, about the value of the best trial.
    """
    best = top_trials[0].values
    narrow, windows = dict(spaces), {}
    for number, (name, space) in enumerate(spaces.items()):
        if space.scale is None:
            top_values = {json.dumps(trial.values[number]) for trial in top_trials}
            listed = tuple(value for value in space.values if json.dumps(value) in top_values)
            narrow[name] = replace(space, values=listed)
        else:
            windows[name] = _window(space.quantile(best[number]), length)
    return narrow, windows


def _window(centre: float, length: float) -> tuple[float, float]:
    """Return the ends of a window of quantiles about a centre, moved to lie within 0 and 1."""
    start = min(max(centre - length / 2, 0.0), 1 - length)
    return start, start + length


def _tpe(
    spaces: Mapping[str, Space], search: Search, finished: Sequence[FinishedTrial], seed: int
) -> list[ProposedTrial]:
    """Ask Optuna for the next trials, given all that have finished, in a canonical order.

    A setting that has been tried is not proposed again. A trial without a score counts as worse
    than every other.
    """
    import optuna  # an extra, and slow

    count = min(search.batch, search.trials - len(finished))
    if count < 1:
        return []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: _distribution(space) for name, space in spaces.items()}
    number = len(finished) // search.batch
    sampler = optuna.samplers.TPESampler(
        multivariate=True, seed=derive(seed, "tpe", *sorted(spaces), number) % 2**32
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in _ranked(finished):
        coordinates = {
            name: _coordinate(space, value)
            for (name, space), value in zip(spaces.items(), trial.values, strict=True)
        }
        score = -inf if isnan(trial.score) else trial.score
        study.add_trial(
            optuna.trial.create_trial(params=coordinates, distributions=distributions, value=score)
        )
    tried = {json.dumps(trial.values) for trial in finished}
    proposals: list[ProposedTrial] = []
    for _ in range(DRAWS * count):
        coordinates = study.ask(distributions).params
        values = tuple(_value_at(space, coordinates[name]) for name, space in spaces.items())
        if json.dumps(values) not in tried:
            tried.add(json.dumps(values))
            proposals.append(ProposedTrial(values))
        if len(proposals) == count:
            break
    return proposals


def _distribution(space: Space) -> Any:
    """Return the distribution of the coordinates of a space for Optuna."""
    from optuna import distributions

    if space.scale is None:
        return distributions.CategoricalDistribution(range(len(space.values)))
    return distributions.FloatDistribution(0, TOP)


def _value_at(space: Space, coordinate: Any) -> Any:
    """Return the value at a coordinate of Optuna, the inverse of `_coordinate`."""
    return space.values[coordinate] if space.scale is None else space.at(coordinate)


def _coordinate(space: Space, value: Any) -> float:
    """Return the coordinate of a value in Optuna: its number in a list, or a quantile below 1."""
    return space.values.index(value) if space.scale is None else min(space.quantile(value), TOP)


def _ranked(finished: Sequence[FinishedTrial]) -> list[FinishedTrial]:
    """Return trials from the best score to the worst, ties by the text of the values."""
    return sorted(
        finished, key=lambda trial: (isnan(trial.score), -trial.score, json.dumps(trial.values))
    )


def _grid(spaces: Mapping[str, Space], trials: int) -> list[Values]:
    """Return a grid; ranges without a number of points get evenly as many as the trials allow."""
    counts = {name: len(space.values) or 1 for name, space in spaces.items()}
    free = [name for name, space in spaces.items() if not space.values]
    grown = bool(free)
    while grown:
        for name in free:
            if prod(counts.values()) // counts[name] * (counts[name] + 1) > trials:
                grown = False
                break
            counts[name] += 1
    axes = [space.values or space.spaced(counts[name]) for name, space in spaces.items()]
    return list(itertools.product(*axes))


def _drawn(
    spaces: Mapping[str, Space],
    search: Search,
    seed: int,
    windows: Mapping[str, tuple[float, float]] | None = None,
) -> list[Values]:
    """Return distinct draws, each coordinate within its window of quantiles."""
    draw = _sobol if search.method == "sobol" else _random
    settings: dict[str, Values] = {}
    points = search.trials
    while len(settings) < search.trials and points <= DRAWS * search.trials:
        quantiles = draw(list(spaces), points, seed)
        for name, (start, end) in (windows or {}).items():
            quantiles[name] = start + quantiles[name] * (end - start)
        columns = [map(space.at, quantiles[name]) for name, space in spaces.items()]
        settings = {json.dumps(row): row for row in zip(*columns, strict=True)}
        points *= 2
    return list(settings.values())[: search.trials]


def _random(names: Sequence[str], count: int, seed: int) -> dict[str, Array]:
    return {
        name: np.random.default_rng(derive(seed, "search", name)).random(count) for name in names
    }


def _sobol(names: Sequence[str], count: int, seed: int) -> dict[str, Array]:
    """Return points of a Sobol sequence, each coordinate shifted by bits from a stream of its own.

    A digital shift keeps the strata of the sequence. The coordinate of a name depends on the name
    only, unless two names have the same one.
    """
    coordinates: dict[int, str] = {}
    for name in sorted(names):
        first = derive(STREAM, "dimension", name) % DIMENSIONS
        free = (number % DIMENSIONS for number in range(first, first + DIMENSIONS))
        coordinates[next(number for number in free if number not in coordinates)] = name
    whole = _sobol_sequence(count.bit_length() - 1)
    shifts = {name: derive(seed, "search", name) % 2**BITS for name in names}
    return {
        name: ((whole[:, number] ^ shifts[name]) + 0.5) / 2**BITS
        for number, name in coordinates.items()
    }


@cache
def _sobol_sequence(power: int) -> Array:
    """Return the bits of the first 2^power points, the same for all seeds."""
    from scipy.stats import qmc  # slow, and needed for designs only

    points = qmc.Sobol(DIMENSIONS, scramble=False, bits=BITS).random_base2(power)
    bits: Array = (points * 2**BITS).astype(np.int64)
    return bits
