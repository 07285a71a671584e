"""Designs of points with a planted response, for what is computed from studies of searches."""

import numpy as np

from pipeline.comparison.designs import Design
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
