"""Replays of searches on stored designs, and random search in closed form.

A replay is compared with a real search, replays on parts of a design with those on its subsets, and
random search with means, chances, bands and costs by formula or enumeration. Lost points, designs
without points left, proposals that no point has.
"""

import itertools

import numpy as np
import pytest
from searched import SHARES, UNIT, design_of, peak

from pipeline.comparison.random_search import best_of_random, cost_of, random_bands, random_means
from pipeline.comparison.replays import replay, replayed, replayed_on
from pipeline.planning.searches import FinishedTrial, Search, propose
from pipeline.planning.spaces import Space

METHODS = ("grid", "random", "sobol", "coarse_to_fine", "halving", "tpe")
NOTHING = -1  # the number of the chosen point where none is done
ROUNDING = 1e-9  # of a budget


def share_of(budget):
    """Return the share of the schedule that a budget pays for."""
    return float(SHARES[np.searchsorted(SHARES, budget - ROUNDING)])


def planted_score(values, budget):
    """Return the score that `design_of` gives to a point at a share of the schedule."""
    place = [space.quantile(value) for space, value in zip(UNIT.values(), values, strict=True)]
    (final,) = peak(np.array([place]))
    share = share_of(budget)
    return float(final if share == 1 else share**0.1 * final)


def real_search(search, seed):
    """Return the trials of a search that trains, with their planted scores."""
    finished = []
    while proposals := propose(UNIT, search, finished, seed):
        for trial in proposals:
            score = planted_score(trial.values, trial.budget)
            finished.append(FinishedTrial(trial.values, trial.budget, score))
    return finished


def random_points(count):
    """Return values of random points, one for each hyperparameter."""
    rows = np.random.default_rng(9).random((count, len(UNIT))).round(6)
    return [tuple(row) for row in rows.tolist()]


# Replays of single searches


@pytest.mark.parametrize("method", METHODS)
def test_a_replay_is_the_real_search_with_the_same_seed(method):
    """The design has the points of the search, and others beside them."""
    search, seed = Search(method=method, trials=8), 5
    trials = real_search(search, seed)
    points = [trial.values for trial in trials]
    different_points = list(dict.fromkeys([*points, *random_points(20)]))
    design = design_of(values=different_points)
    steps = replay(design, search, seed)
    replayed_trials = {(design.values[step.point], step.share) for step in steps}
    assert replayed_trials == {(trial.values, share_of(trial.budget)) for trial in trials}
    assert {step.distance for step in steps} == {0.0}


@pytest.fixture(scope="module")
def halving_steps():
    """Return the trials of successive halving with 27 settings."""
    return replay(design_of(points=64), Search(method="halving", trials=27), seed=1)


def test_halving_trains_a_third_of_the_points_three_times_as_long(halving_steps):
    shares = [step.share for step in halving_steps]
    assert [shares.count(share) for share in SHARES] == [27, 9, 3, 1]


def test_a_search_pays_for_every_epoch_of_a_point_once(halving_steps):
    points = [27, 9, 3, 1]
    added_shares = np.diff(SHARES, prepend=0.0)
    assert halving_steps[-1].cost == pytest.approx(points @ added_shares)


def test_the_point_that_is_trained_to_the_end_had_every_share_before(halving_steps):
    (last,) = {step.point for step in halving_steps if step.share == 1}
    shares = [step.share for step in halving_steps if step.point == last]
    assert shares == SHARES.tolist()


def test_a_search_ends_where_the_design_has_no_points_left():
    steps = replay(design_of(points=10), Search(method="random", trials=32), seed=1)
    assert sorted(step.point for step in steps) == list(range(10))


def test_the_settings_of_a_grid_are_trained_in_random_order():
    """A grid has no order of its own, and in that of its list low values would come first."""
    values = [(place,) for place in (0.0, 0.5, 1.0)]
    design = design_of(spaces={"rate": UNIT["rate"]}, values=values)
    search = Search(method="grid", trials=3)
    orders = set()
    for seed in range(60):
        steps = replay(design, search, seed)
        orders.add(tuple(step.point for step in steps))
    assert orders == set(itertools.permutations(range(3)))


# Proposals that no point has


@pytest.fixture
def mixed_design():
    """Return a design of a number and a name."""
    spaces = {"a": Space((), "uniform", 0.0, 1.0), "b": Space(("x", "y"))}
    values = [(0.1, "x"), (0.2, "x"), (0.9, "x"), (0.14, "y")]
    return design_of(values=values, spaces=spaces)


def test_settings_are_as_far_apart_as_their_numbers_and_1_for_other_names(mixed_design):
    distances = mixed_design.distances([(0.14, "x")])
    numbers = np.abs(np.array([0.1, 0.2, 0.9]) - 0.14)
    np.testing.assert_allclose(distances, [[*numbers, 1.0]])


def test_numbers_in_a_list_are_as_far_apart_as_their_places():
    spaces = {"width": Space(([4], [8], [64]))}
    design = design_of(values=[([4],), ([8],), ([64],)], spaces=spaces)
    np.testing.assert_allclose(design.distances([([4],)]), [[0, 1 / 3, 2 / 3]])


def test_a_proposal_takes_the_nearest_point_that_is_left(mixed_design):
    search, seed = Search(method="sobol", trials=4), 3
    proposals = propose(mixed_design.spaces, search, (), seed)
    steps = replay(mixed_design, search, seed)
    free_points = {0, 1, 2, 3}
    for step, proposal in zip(steps, proposals, strict=True):
        (distances,) = mixed_design.distances([proposal.values])
        nearest = min(free_points, key=distances.__getitem__)
        assert step.point == nearest
        assert step.distance == distances[nearest]
        free_points.remove(nearest)
    assert not free_points


# Many replays


@pytest.mark.parametrize(
    ("method", "nearest"),
    [
        *(pytest.param(method, False, id=method) for method in METHODS),
        pytest.param("random", True, id="random-at-the-nearest-points"),
    ],
)
def test_searches_on_parts_of_a_design_are_those_on_its_subsets(method, nearest):
    design = design_of(points=40, noise=0.01)
    design.curves[::7, -1] = np.nan
    generator = np.random.default_rng(2)
    parts = [design.half(generator) for _ in range(3)]
    search = Search(method=method, trials=8)
    on_parts = replayed_on(design, search, 2, parts, nearest)
    for on_part, part in zip(on_parts, parts, strict=True):
        on_subset = replayed(design.subset(part), search, 2, nearest)
        numbers_in_design = part[on_subset.chosen]
        chosen = np.where(on_subset.chosen == NOTHING, NOTHING, numbers_in_design)
        assert (on_part.chosen == chosen).all()
        assert (on_part.costs == on_subset.costs).all()
        assert (on_part.spent == on_subset.spent).all()
        assert on_part.distance == on_subset.distance


def test_a_shorter_random_search_is_the_start_of_a_longer_one():
    """So that one replay is the reference of methods that cost less, too."""
    design = design_of(points=40, noise=0.01)
    long = replayed(design, Search(method="random", trials=20), 5, nearest=True)
    short = replayed(design, Search(method="random", trials=7), 5, nearest=True)
    assert (long.chosen[:, :7] == short.chosen).all()


def test_random_finds_more_than_a_grid_where_one_value_matters():
    """A grid of 3 x 3 x 3 has three different rates, random search 27."""
    design = design_of(points=500)

    def mean_best(method):
        searches = replayed(design, Search(method=method, trials=27), 20)
        chosen_at_the_end = searches.chosen[:, -1]
        return design.ranked[chosen_at_the_end].mean()

    assert mean_best("random") > mean_best("grid")


# Lost points


def test_a_lost_point_is_never_chosen():
    points, lost = 12, 6
    design = design_of(points=points)
    design.curves[:lost, -1] = np.nan
    chosen = replayed(design, Search(method="random", trials=points), 50).chosen
    after_one_trial, at_the_end = chosen[:, 0], chosen[:, -1]
    assert set(after_one_trial) <= {NOTHING, *range(lost, points)}
    share_of_nothing = (after_one_trial == NOTHING).mean()
    assert share_of_nothing == pytest.approx(lost / points, abs=0.25)
    best = lost + int(design.validation[lost:].argmax())
    assert set(at_the_end) == {best}


@pytest.mark.parametrize("method", METHODS)
def test_a_search_without_any_done_run_chooses_nothing(method):
    design = design_of(points=9)
    design.curves[:, -1] = np.nan
    chosen = replayed(design, Search(method=method, trials=8), 2).chosen
    assert set(chosen.ravel()) == {NOTHING}


# Random search in closed form


def standard_errors_from(scores, means):
    """Return by how many standard errors mean scores (searches, costs) differ from `means`."""
    errors = scores.std(axis=0) / np.sqrt(len(scores))
    return np.abs(scores.mean(axis=0) - means) / errors


def test_random_replays_have_the_means_of_the_closed_form():
    design = design_of(points=60, noise=0.02)
    searches = replayed(design, Search(method="random", trials=16), 400)
    validation, test = random_means(design, searches.costs)
    assert standard_errors_from(design.ranked[searches.chosen], validation).max() < 4
    assert standard_errors_from(design.test[searches.chosen], test).max() < 4


@pytest.mark.parametrize("draws", [1, 2, 4, 6])
def test_chances_of_the_best_are_those_of_an_enumeration(draws):
    scores = np.array([0.3, 0.9, 0.5, 0.9, 0.1, 0.5])
    counts = np.zeros(len(scores))
    for points in itertools.permutations(range(len(scores)), draws):
        first_of_the_best = max(points, key=scores.__getitem__)
        counts[first_of_the_best] += 1
    (chances,) = best_of_random(scores, np.array([draws]))
    np.testing.assert_allclose(chances, counts / counts.sum())


def test_bands_of_random_search_cover_its_true_curve():
    """Of uniform scores the median of the best of n is 0.5^(1/n)."""
    sizes = np.arange(1, 13)
    medians = 0.5 ** (1 / sizes)
    designs = np.random.default_rng(0).random((200, 16))
    is_covered = []
    for scores in designs:
        low, high = random_bands(scores, sizes)
        is_covered.append(((low <= medians) & (medians <= high)).all())
    three_errors = 3 * np.sqrt(0.95 * 0.05 / len(designs))
    assert np.mean(is_covered) == pytest.approx(0.95, abs=three_errors)


@pytest.mark.parametrize(
    ("score", "cost"),
    [
        pytest.param(0.4, 1, id="at-once"),
        pytest.param(0.75, 2 + (0.75 - 0.7) / (0.8 - 0.7), id="between-two-costs"),
        pytest.param(0.9, np.inf, id="never"),
    ],
)
def test_the_cost_at_which_a_curve_reaches_a_score(score, cost):
    means = np.array([0.5, 0.7, 0.8])  # at costs 1, 2 and 3
    assert cost_of(means, score) == pytest.approx(cost)
