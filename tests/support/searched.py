"""Designs of points with a planted response, for what is computed from studies of searches."""

from dataclasses import replace
from unittest import mock

import numpy as np

from pipeline.comparison import importance, responses, tuning_budget
from pipeline.comparison.designs import Design
from pipeline.comparison.search_tables import study_tables
from pipeline.config.plan import Dimension, PlannedArm, PlannedStudy
from pipeline.config.schema import Replay
from pipeline.planning.spaces import Space

SHARES = np.array([1 / 27, 1 / 9, 1 / 3, 1.0])
UNIT = {name: Space((), "uniform", 0.0, 1.0) for name in ("rate", "momentum", "decay")}


def peak(places):
    """Return accuracies that depend on the first coordinate alone, with a peak at 0.6."""
    return 0.95 - 0.5 * np.square(places[:, 0] - 0.6)


def design_of(response=peak, spaces=UNIT, points=128, noise=0.0, values=None, seed=0, seeds=1):
    """Return a design of random points, or of given ones, with equal noise in all scores."""
    generator = np.random.default_rng(seed)
    if values is None:
        drawn = generator.random((points, len(spaces)))
        values = [
            tuple(space.at(one) for space, one in zip(spaces.values(), row, strict=True))
            for row in drawn
        ]
    places = np.array(
        [
            [space.quantile(value) for space, value in zip(spaces.values(), row, strict=True)]
            for row in values
        ]
    )
    expected = response(places)
    by_seed = expected + noise * generator.standard_normal((seeds, len(values)))
    test = expected + noise * generator.standard_normal(len(values))
    final = by_seed.mean(axis=0)
    early = [share**0.1 * expected for share in SHARES[:-1]]
    return Design(
        spaces=spaces,
        values=tuple(values),
        shares=SHARES,
        curves=np.stack([*early, final], axis=1),
        by_seed=by_seed,
        test=test,
    )


RATE, MOMENTUM, WIDTH = "training.learning_rate", "training.optimizer.momentum", "model.hidden"
SPACES = {
    RATE: Space((), "log", 1e-4, 1.0),
    MOMENTUM: Space((), "one_minus_log", 0.0, 0.999),
    WIDTH: Space(([4], [16], [64])),
}
REPLAY = Replay(methods=("random", "grid", "halving"), trials=16, replays=100)


def searched(plain, arms=("sgd", "adam")):
    """Return the data of a report with a study of searches, whose arms have planted responses.

    The best rate falls with momentum. The second arm is worse at most settings, and better at its
    best. One run is lost.
    """
    designs = {"sgd": _arm(0.94, 0.1, seed=0), "adam": _arm(0.96, 1.5, seed=1)}
    designs["sgd"].curves[3, -1] = designs["sgd"].by_seed[:, 3] = np.nan
    replay = REPLAY.model_copy(update={"replays": 24})
    with (
        mock.patch.multiple(importance, SHUFFLES=5, HALVES=5),
        mock.patch.object(tuning_budget, "RESAMPLES", 100),
        mock.patch.object(responses, "RESAMPLES", 100),
    ):
        tables = study_tables("methods", {name: designs[name] for name in arms}, replay)
    space = (
        Dimension(part="protocol", key=RATE, scale="log", low=1e-4, high=1.0),
        Dimension(part="protocol", key=MOMENTUM, scale="one_minus_log", low=0.0, high=0.999),
        Dimension(part="protocol", key=WIDTH),
    )
    planned = [PlannedArm(name=name, space=space, design="random") for name in arms]
    study = PlannedStudy(
        name="methods",
        question="Which search is best?",
        kind="search",
        arms=(PlannedArm(name="baseline"), *planned),
        search=REPLAY,
    )
    studies = (*plain.confirmation.studies, study)
    plan = plain.confirmation.model_copy(update={"studies": studies})
    return replace(plain, confirmation=plan, **tables)


def _arm(height, depth, seed):
    def response(places):
        return height - depth * np.square(places[:, 0] + 0.3 * (places[:, 1] - 0.5) - 0.6)

    return design_of(response, SPACES, points=52, noise=0.004, seed=seed)
