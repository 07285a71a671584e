"""Replays of searches: equal to real ones, and random search to its closed form."""

import itertools

import numpy as np
import pytest
from searched import SHARES, UNIT, design_of, peak

from pipeline.comparison.random_search import best_of_random, cost_of, random_bands, random_means
from pipeline.comparison.replays import replay, replayed, replayed_on
from pipeline.planning.searches import Finished, Search, propose
from pipeline.planning.spaces import Space

METHODS = ("grid", "random", "sobol", "coarse_to_fine", "halving", "tpe")


def found_by(spaces, search, score, seed):
    """Return the trials of a real search: values, budget and score."""
    finished = []
    while proposals := propose(spaces, search, finished, seed):
        finished += [
            Finished(item.values, item.budget, score(item.values, item.budget))
            for item in proposals
        ]
    return finished


@pytest.mark.parametrize("method", METHODS)
def test_a_replay_equals_a_real_search_with_the_same_seed(method):
    """The design has the points of the search, and others beside them."""
    search, seed = Search(method=method, trials=8), 5

    def score(values, budget):
        pairs = zip(UNIT.values(), values, strict=True)
        places = np.array([[space.quantile(value) for space, value in pairs]])
        share = SHARES[np.searchsorted(SHARES, budget - 1e-9)]
        return float((1.0 if share == 1 else share**0.1) * peak(places)[0])

    real = found_by(UNIT, search, score, seed)
    others = [tuple(row) for row in np.random.default_rng(9).random((20, 3)).round(6).tolist()]
    distinct = dict.fromkeys([trial.values for trial in real] + others)
    design = design_of(values=list(distinct))
    steps = replay(design, search, seed)
    assert {(design.values[step.point], step.share) for step in steps} == {
        (trial.values, float(SHARES[np.searchsorted(SHARES, trial.budget - 1e-9)]))
        for trial in real
    }
    assert {step.distance for step in steps} == {0.0}


def test_a_search_pays_for_every_epoch_of_a_point_once():
    steps = replay(design_of(points=64), Search(method="halving", trials=27), seed=1)
    rungs = [step.share for step in steps]
    assert [rungs.count(share) for share in SHARES] == [27, 9, 3, 1]
    resumed = 27 / 27 + 9 * (1 / 9 - 1 / 27) + 3 * (1 / 3 - 1 / 9) + 2 / 3
    assert steps[-1].cost == pytest.approx(resumed)
    last, *_ = {step.point for step in steps if step.share == 1}
    assert sum(step.point == last for step in steps) == len(SHARES)


def test_a_proposal_takes_the_nearest_point_that_is_left():
    spaces = {"a": Space((), "uniform", 0.0, 1.0), "b": Space(("x", "y"))}
    design = design_of(values=[(0.1, "x"), (0.2, "x"), (0.9, "x"), (0.14, "y")], spaces=spaces)
    np.testing.assert_allclose(design.distances([(0.14, "x")]), [[0.04, 0.06, 0.76, 1.0]])
    steps = replay(design, Search(method="sobol", trials=4), seed=3)
    assert sorted(step.point for step in steps) == [0, 1, 2, 3]


def test_numbers_in_a_list_are_as_far_apart_as_their_places():
    spaces = {"width": Space(([4], [8], [64]))}
    design = design_of(values=[([4],), ([8],), ([64],)], spaces=spaces)
    np.testing.assert_allclose(design.distances([([4],)]), [[0, 1 / 3, 2 / 3]])


@pytest.mark.parametrize(
    ("method", "nearest"), [*((name, False) for name in METHODS), ("random", True)]
)
def test_searches_on_parts_of_a_design_are_those_on_its_subsets(method, nearest):
    design = design_of(points=40, noise=0.01)
    design.curves[::7, -1] = np.nan
    generator = np.random.default_rng(2)
    parts = [design.half(generator) for _ in range(3)]
    search = Search(method=method, trials=8)
    every = replayed_on(design, search, 2, parts, nearest)
    for found, part in zip(every, parts, strict=True):
        alone = replayed(design.subset(part), search, 2, nearest)
        assert (np.where(alone.chosen < 0, -1, part[alone.chosen]) == found.chosen).all()
        assert (alone.costs == found.costs).all()
        assert (alone.spent == found.spent).all()
        assert alone.distance == found.distance


def test_a_shorter_random_search_is_the_start_of_a_longer_one():
    """So that one replay is the reference of methods that cost less, too."""
    design = design_of(points=40, noise=0.01)
    long, short = (
        replayed(design, Search(method="random", trials=trials), 5, nearest=True)
        for trials in (20, 7)
    )
    assert (long.chosen[:, :7] == short.chosen).all()


def test_random_replays_have_the_mean_of_the_closed_form():
    design = design_of(points=60, noise=0.02)
    found = replayed(design, Search(method="random", trials=16), 400)
    validation, test = random_means(design, found.costs)
    best = design.ranked[found.chosen]
    for scores, means in ((best, validation), (design.test[found.chosen], test)):
        errors = scores.std(axis=0) / np.sqrt(len(scores))
        assert (np.abs(scores.mean(axis=0) - means) < 4 * errors).all()


def test_chances_of_the_best_are_those_of_an_enumeration():
    scores = np.array([0.3, 0.9, 0.5, 0.9, 0.1, 0.5])
    for size in (1, 2, 4, 6):
        counts = np.zeros(6)
        for drawn in itertools.permutations(range(6), size):
            counts[max(drawn, key=lambda point: scores[point])] += 1  # the first of equal ones
        (chances,) = best_of_random(scores, np.array([size]))
        np.testing.assert_allclose(chances, counts / counts.sum())


def test_a_lost_point_is_never_chosen():
    design = design_of(points=12)
    design.curves[:6, -1] = np.nan
    found = replayed(design, Search(method="random", trials=12), 50)
    assert set(found.chosen[:, -1]) == {6 + int(design.validation[6:].argmax())}
    assert (found.chosen[:, 0] == -1).mean() == pytest.approx(0.5, abs=0.25)
    assert set(found.chosen[:, 0]) <= {-1, *range(6, 12)}


def test_a_search_without_any_done_run_chooses_nothing():
    design = design_of(points=9)
    design.curves[:, -1] = np.nan
    for method in METHODS[1:]:
        search = Search(method=method, trials=8)
        assert {*replayed(design, search, 2).chosen.ravel()} == {-1}


def test_a_search_ends_where_the_design_has_no_points_left():
    steps = replay(design_of(points=10), Search(method="random", trials=32), seed=1)
    assert sorted(step.point for step in steps) == list(range(10))


def test_random_beats_a_grid_where_one_value_matters():
    """A 3 x 3 x 3 grid has three different rates, random search 27."""
    design = design_of(points=500)
    best = {
        method: design.ranked[
            replayed(design, Search(method=method, trials=27), 20).chosen[:, -1]
        ].mean()
        for method in ("grid", "random")
    }
    assert best["random"] > best["grid"]


def test_bands_of_random_search_cover_its_true_curve():
    """Of uniform scores the median of the best of n is 0.5^(1/n)."""
    sizes, generator = np.arange(1, 13), np.random.default_rng(0)
    truth = 0.5 ** (1 / sizes)
    covered = 0
    for _ in range(200):
        low, high = random_bands(generator.random(16), sizes)
        covered += ((low <= truth) & (truth <= high)).all()
    assert 180 <= covered <= 200  # 190 are expected, three standard errors are 9


def test_the_cost_at_which_a_curve_reaches_a_score():
    means = np.array([0.5, 0.7, 0.8])
    assert cost_of(means, 0.4) == 1
    assert cost_of(means, 0.75) == pytest.approx(2.5)
    assert cost_of(means, 0.9) == np.inf
