"""Methods of search: the trials they propose, and what they find at known scores."""

import importlib.util
import itertools
import json
import random
from math import comb, nan
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import integrate, stats

from pipeline.config.validation import checked
from pipeline.planning.searches import (
    FinishedTrial,
    ProposedTrial,
    Search,
    design,
    has_stops,
    propose,
    require_optuna,
    rounds,
    scored_shares,
)
from pipeline.planning.spaces import read_space
from pipeline.runtime.errors import Refusal
from pipeline.training.curves import Curves

METHODS = ["grid", "random", "sobol", "coarse_to_fine", "halving", "tpe"]


def space(written):
    return read_space(written, "file.yaml: key")


SPACES = {
    "sgd.rate": space({"log": [0.001, 1]}),
    "sgd.momentum": space({"one_minus_log": [0.5, 0.99]}),
    "part.size": space({"log_integers": [1, 30]}),
    "part.kind": space(["a", "b", "c"]),
}
SQUARE = {"a.x": space({"uniform": [0, 1]}), "a.y": space({"uniform": [0, 1]})}


def closeness(values, budget):
    """Return a score that is best in the middle of every range of `SPACES`, and for kind b."""
    places = [one.quantile(value) for one, value in zip(SPACES.values(), values, strict=True)]
    return 1 - sum((place - 0.5) ** 2 for place in places) - (1 - budget) / 10


def searched(spaces, search, score=closeness, seed=0, shuffle=None):
    """Return the trials of every round of a search, shuffled in between with this generator."""
    finished, rounds = [], []
    while proposals := propose(spaces, search, finished, seed):
        rounds.append(proposals)
        finished += [
            FinishedTrial(one.values, one.budget, score(one.values, one.budget))
            for one in proposals
        ]
        if shuffle:
            shuffle.shuffle(finished)
    return rounds


@pytest.mark.parametrize("method", METHODS)
def test_a_search_follows_from_its_finished_trials_in_any_order(method):
    search = Search(method=method, trials=16)
    trials = searched(SPACES, search)
    assert searched(SPACES, search, shuffle=random.Random(1)) == trials
    assert len(trials) == len(rounds(search))
    for proposals, (size, budget) in zip(trials, rounds(search), strict=True):
        assert 1 <= len(proposals) <= size
        assert {one.budget for one in proposals} == {budget}
        assert len({json.dumps(one.values) for one in proposals}) == len(proposals)
        for one in proposals:
            for axis, value in zip(SPACES.values(), one.values, strict=True):
                assert (
                    value in axis.values if axis.scale is None else axis.low <= value <= axis.high
                )


@pytest.mark.parametrize("method", METHODS[1:])
def test_another_seed_draws_other_trials(method):
    search = Search(method=method, trials=8)
    assert propose(SPACES, search, seed=1) != propose(SPACES, search, seed=2)


@pytest.mark.parametrize(
    ("method", "points"),
    [
        ("random", [(0.0121324, 0.00296096), (0.0838887, 0.0281981), (0.00145096, 0.0342596)]),
        ("sobol", [(0.792843, 0.0017642), (0.0250719, 0.0141136), (0.00445849, 0.0399192)]),
    ],
)
def test_the_points_of_runs_that_are_trained_stay_what_they_are(method, points):
    """Other points would train every arm with a design again."""
    spaces = {
        "weight_decay.strength": space({"log": [0.001, 1]}),
        "protocol.training.learning_rate": space({"log": [0.0007, 0.0448]}),
    }
    assert design(spaces, Search(method=method, trials=8))[:3] == points


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_a_design_is_proposed_at_once(method):
    search = Search(method=method, trials=8)
    assert [one.values for one in propose(SPACES, search)] == design(SPACES, search)
    assert propose(SPACES, search, [FinishedTrial(design(SPACES, search)[0], 1.0, 0.5)]) == []


@pytest.mark.parametrize(
    ("written", "trials", "counts"),
    [
        ([{"uniform": [0, 1]}] * 2, 25, [5, 5]),
        ([{"uniform": [0, 1]}] * 2, 24, [5, 4]),
        ([{"uniform": [0, 1]}] * 4, 32, [3, 2, 2, 2]),
        ([{"uniform": [0, 1]}] * 3, 3, [2, 1, 1]),
        ([{"uniform": [0, 1], "points": 5}, {"log": [0.1, 1]}], 16, [5, 3]),
        ([[1, 2, 3], {"log_integers": [1, 2]}], 100, [3, 2]),
    ],
)
def test_a_grid_shares_its_trials_among_ranges_without_points(written, trials, counts):
    spaces = {f"a.{number}": space(one) for number, one in enumerate(written)}
    proposals = design(spaces, Search(method="grid", trials=trials))
    assert [len(set(column)) for column in zip(*proposals, strict=True)] == counts
    assert len(proposals) == np.prod(counts)


def test_a_grid_has_both_ends_of_a_range_and_equal_ratios_on_a_log_scale():
    (column,) = zip(
        *design({"a.x": space({"log": [0.001, 1]})}, Search(method="grid", trials=4)), strict=True
    )
    assert column == (0.001, 0.01, 0.1, 1)


@pytest.mark.parametrize(
    ("trials", "eta", "expected"),
    [
        (27, 3, [(27, 1 / 27), (9, 1 / 9), (3, 1 / 3), (1, 1)]),
        (32, 3, [(32, 1 / 27), (10, 1 / 9), (3, 1 / 3), (1, 1)]),
        (8, 2, [(8, 1 / 8), (4, 1 / 4), (2, 1 / 2), (1, 1)]),
        (5, 10, [(5, 1)]),
    ],
)
def test_halving_spends_the_same_on_every_round(trials, eta, expected):
    search = Search(method="halving", trials=trials, eta=eta)
    assert rounds(search) == expected
    assert [(len(one), one[0].budget) for one in searched(SPACES, search)] == expected


def test_halving_keeps_the_best_breaks_ties_by_values_and_drops_what_diverged():
    search = Search(method="halving", trials=9)
    first = propose(SQUARE, search)
    scores = [nan, 0.9, 0.5, 0.5, 0.5, 0.5, nan, 0.5, 0.5]
    finished = [
        FinishedTrial(one.values, 1 / 9, score) for one, score in zip(first, scores, strict=True)
    ]
    tied = sorted(
        (one.values for one, score in zip(first, scores, strict=True) if score == 0.5),
        key=json.dumps,
    )
    kept = [first[1].values, *tied[:2]]
    assert propose(SQUARE, search, finished) == [ProposedTrial(values, 1 / 3) for values in kept]
    lost = [FinishedTrial(one.values, 1 / 9, nan) for one in first]
    assert propose(SQUARE, search, lost) == []


def test_halving_keeps_the_best_trial_with_the_computed_probability():
    """Nine equal trials and a better one; each round has noise of its own.

    A round of n keeps the best k with probability E[P(Binomial(n - 1, 1 - Phi(x + d)) < k)] over
    standard normal x, where d is the lead in standard deviations.
    """
    lead, noise, repeats = 0.02, 0.02, 3000

    def kept(count, most):
        def density(x):
            beats = stats.norm.sf(x + lead / noise)
            terms = (
                comb(count - 1, j) * beats**j * (1 - beats) ** (count - 1 - j) for j in range(most)
            )
            return stats.norm.pdf(x) * sum(terms)

        return integrate.quad(density, -8, 8)[0]

    expected = kept(9, 3) * kept(3, 1)
    search, generator = Search(method="halving", trials=9), np.random.default_rng(3)
    first = [one.values for one in propose(SQUARE, search)]
    best, won = first[4], 0
    for _ in range(repeats):
        finished, values = [], first
        for budget in (1 / 9, 1 / 3):
            scores = generator.normal(0.9, noise, len(values))
            finished += [
                FinishedTrial(one, budget, score + lead * (one == best))
                for one, score in zip(values, scores, strict=True)
            ]
            values = [one.values for one in propose(SQUARE, search, finished)]
        won += values == [best]
    assert won / repeats == pytest.approx(
        expected, abs=4 * (expected * (1 - expected) / repeats) ** 0.5
    )


def test_random_beats_a_grid_where_one_dimension_matters():
    """The distance to a uniform target: 1 / (4 (k - 1)) of k equal steps, as between n draws.

    Of n draws it is (n + 3) / (2 (n + 1) (n + 2)): a gap g holds the target with probability g, and
    then is g / 4 away, or g / 2 in the first and the last gap; the mean of g^2 is 2 / ((n+1)(n+2)).
    """
    targets = (np.arange(2000) + 0.5) / 2000

    def distance(method, seed):
        values = design(SQUARE, Search(method=method, trials=25), seed)
        relevant = np.unique([x for x, _ in values])
        return len(relevant), np.abs(targets[:, None] - relevant).min(axis=1).mean()

    count, of_grid = distance("grid", 0)
    assert count == 5
    assert of_grid == pytest.approx(1 / (4 * (5 - 1)), rel=1e-3)
    drawn = [distance("random", seed) for seed in range(300)]
    assert {count for count, _ in drawn} == {25}
    distances = np.array([one for _, one in drawn])
    error = distances.std() / len(distances) ** 0.5
    assert distances.mean() == pytest.approx(28 / (2 * 26 * 27), abs=4 * error)
    assert distances.mean() < of_grid / 3


def test_coarse_to_fine_narrows_every_range_around_the_best_short_trial():
    search = Search(method="coarse_to_fine", trials=40, eta=4)
    coarse, fine = searched(SPACES, search)
    assert [len(coarse), coarse[0].budget, len(fine), fine[0].budget] == [20, 0.25, 20, 1.0]
    best = max(coarse, key=lambda one: closeness(one.values, one.budget))
    assert fine[0].values == best.values
    ranked = sorted(coarse, key=lambda one: -closeness(one.values, one.budget))
    assert {one.values[3] for one in fine} <= {one.values[3] for one in ranked[:5]}
    for number, axis in enumerate(list(SPACES.values())[:3]):
        places = [axis.quantile(one.values[number]) for one in fine]
        assert max(places) - min(places) <= 1 / 4 + 1 / 30  # a whole number may be rounded
        assert min(places) - 1 / 30 <= axis.quantile(best.values[number]) <= max(places) + 1 / 30
    assert propose(SPACES, search, [FinishedTrial(one.values, 0.25, nan) for one in coarse]) == []


@pytest.mark.parametrize(
    ("best", "lowest", "highest"),
    [
        pytest.param(0.1, 0.0, 0.25, id="near-the-lower-end"),
        pytest.param(0.5, 0.375, 0.625, id="in-the-middle"),
        pytest.param(0.9, 0.75, 1.0, id="near-the-upper-end"),
    ],
)
def test_a_narrowed_range_keeps_its_length_and_stays_within_the_space(best, lowest, highest):
    """A quarter of the range about the best value, moved where it would pass an end."""
    search = Search(method="coarse_to_fine", trials=200, eta=4)
    axis = {"a.x": SQUARE["a.x"]}
    fine = propose(
        axis, search, [FinishedTrial((best,), 0.25, 0.9), FinishedTrial((0.3,), 0.25, 0.8)]
    )
    values = [value for (value,) in (one.values for one in fine)]
    assert lowest <= min(values) < lowest + 0.03
    assert highest - 0.03 < max(values) <= highest


def test_tpe_finds_better_trials_than_random_draws():
    pytest.importorskip("optuna")

    def best(method, seed):
        rounds = searched(
            SQUARE,
            Search(method=method, trials=32),
            lambda v, _: -((v[0] - 0.3) ** 2 + (v[1] - 0.6) ** 2),
            seed,
        )
        return max(
            -((x - 0.3) ** 2 + (y - 0.6) ** 2)
            for one in itertools.chain(*rounds)
            for x, y in [one.values]
        )

    pairs = [(best("tpe", seed), best("random", seed)) for seed in range(12)]
    assert sum(one > other for one, other in pairs) >= 9


def test_tpe_leaves_trials_without_a_score_and_repeats_none():
    pytest.importorskip("optuna")
    search = Search(method="tpe", trials=40, batch=5)

    def late(lost, seed):
        """Return the later trials, where the upper half of x has lost its runs."""
        rounds = searched(SQUARE, search, lambda at, _: lost if at[0] > 0.5 else at[1], seed)
        values = [one.values for one in itertools.chain(*rounds)]
        assert len(set(values)) == 40
        return values[20:]

    values = [late(nan, seed) for seed in range(4)]
    assert sum(x > 0.5 for x, _ in itertools.chain(*values)) < 0.25 * 80
    assert values[0] == late(-1.0, 0)  # worse than every other
    few = {"a.kind": space(["x", "y"]), "a.size": space({"integers": [1, 3]})}
    assert sum(map(len, searched(few, search, lambda values, _: values[1]))) == 6


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (
            {"method": "bayes", "trials": 8},
            'search.method: invalid value "bayes"; expected one of: grid, random, sobol, '
            "coarse_to_fine, halving, tpe",
        ),
        (
            {"method": "random", "trials": 8, "eta": 2},
            "expected eta only with coarse_to_fine or halving",
        ),
        ({"method": "halving", "trials": 8, "batch": 2}, "expected batch only with tpe"),
        (
            {"method": "halving", "trials": 8, "eta": 1},
            "search.eta: invalid value 1; expected an integer >= 2 and <= 10",
        ),
        (
            {"method": "tpe", "trials": 8, "batch": 0},
            "search.batch: invalid value 0; expected an integer >= 1 and <= 1000",
        ),
    ],
)
def test_a_wrong_value_of_a_search_is_one_line(written, line):
    with pytest.raises(Refusal) as refusal:
        checked(Search, written, "file.yaml", "search")
    (message,) = refusal.value.lines
    assert message.startswith("file.yaml: search")
    assert line in message


def test_tpe_without_optuna_is_one_line_that_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Refusal) as refusal:
        require_optuna("file.yaml: search.method")
    assert refusal.value.lines == (
        "file.yaml: search.method: tpe needs optuna; run: pip install '.[optuna]'",
    )


def test_a_search_names_the_values_that_act():
    assert Search(method="halving", trials=9).acting() == {
        "method": "halving",
        "trials": 9,
        "eta": 3,
    }
    optuna = pytest.importorskip("optuna")
    acting = {"method": "tpe", "trials": 9, "batch": 4, "optuna": optuna.__version__}
    assert Search(method="tpe", trials=9).acting() == acting


@pytest.mark.parametrize("name", SPACES)
def test_a_value_of_a_space_has_the_quantile_that_it_was_drawn_at(name):
    axis = SPACES[name]
    for quantile in np.linspace(0, 1, 61)[:-1]:
        value = axis.at(float(quantile))
        again = axis.at(axis.quantile(value))
        assert again == value if axis.scale is None else again == pytest.approx(value, rel=1e-5)
    if axis.scale is not None:
        assert [axis.at(0.0), axis.at(1 - 1e-12)] == pytest.approx([axis.low, axis.high])
        assert axis.spaced(2) == (axis.low, axis.high)
        assert axis.spaced(1) == (axis.at(0.5),)


@pytest.mark.parametrize("epochs", [1, 2, 7, 27])
@pytest.mark.parametrize("points", [1, 2, 4, 10, 27, 40])
def test_stops_are_the_points_of_learning_curves(epochs, points):
    curves = Curves((), points)
    trainers = [SimpleNamespace(current_epoch=epoch, max_epochs=epochs) for epoch in range(epochs)]
    scored = [curves._is_point(trainer) for trainer in trainers]
    expected = [(epoch + 1) / epochs for epoch, is_point in enumerate(scored) if is_point]
    assert scored_shares(epochs, points) == expected


@pytest.mark.parametrize(
    ("trials", "epochs", "points", "enough"),
    [
        (27, 27, 27, True),
        (27, 27, 4, False),  # as many points as rounds, but 1/27 and 1/9 end at the same one
        (27, 10, 10, True),
        (27, 9, 9, False),
        (3, 2, 2, True),
        (2, 1, 1, True),  # a single round
        (3, 27, 1, False),
    ],
)
def test_halving_has_a_score_for_each_round_or_is_another_method(trials, epochs, points, enough):
    assert has_stops(Search(method="halving", trials=trials), epochs, points) == enough
