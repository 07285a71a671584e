"""The choice over an ordered space: a response curve, and what it falls back to."""

import itertools

import numpy as np
import pytest

from pipeline.config.plan import Dimension
from pipeline.planning.choice import Score, ScoredSetting, at_edge, best, comparable, response
from pipeline.planning.response import smoothed

RATES = (0.001, 0.00316, 0.01, 0.0316, 0.1)
LOG = Dimension(part="protocol", key="training.learning_rate", scale="log")


def tried(accuracies, values=RATES):
    """Return settings with the accuracies of their seeds."""
    return [
        ScoredSetting(
            {"protocol": {"training.learning_rate": value}},
            tuple(Score("done", accuracy, 0.1) for accuracy in np.atleast_1d(scores)),
        )
        for value, scores in zip(values, accuracies, strict=True)
    ]


def test_the_curve_is_over_the_scale_and_pairs_the_scores_of_a_seed():
    scores = np.array([[0.80, 0.86, 0.89, 0.91, 0.87], [0.79, 0.87, 0.88, 0.90, 0.88]])
    curve = smoothed(np.log(RATES), scores)
    assert response(tried(scores.T), [LOG]) == pytest.approx(curve)


def test_further_seeds_are_compared_without_their_shift():
    """Scores of setting + seed alone are recovered, whichever settings have further seeds."""
    generator = np.random.default_rng(0)
    means, seeds = generator.normal(0.9, 0.02, 5), generator.normal(0, 0.05, 5)
    whole = tried(means[:, None] + seeds)
    some = [
        ScoredSetting(item.setting, item.scores[: 5 if number in (2, 3) else 2])
        for number, item in enumerate(whole)
    ]
    shown = comparable(some)
    expected = means + seeds[:2].mean()
    assert [item.accuracy for item in shown] == pytest.approx(expected)
    assert [len(item.scores) for item in shown] == [2, 2, 5, 5, 2]
    assert comparable(shown)[2].accuracy == pytest.approx(expected[2])  # nothing is left to shift
    assert response(some, [LOG]) == pytest.approx(response(shown, [LOG]))
    assert best(some, []) == int(np.argmax(means))


def test_what_further_seeds_say_moves_the_difference_of_their_settings_alone():
    item = [[0.9, 0.9], [0.8, 0.8, 0.5, 0.5], [0.7, 0.7, 0.6, 0.6]]
    settings = [
        ScoredSetting({"p": {"k": place}}, tuple(Score("done", score, 0.0) for score in scores))
        for place, scores in enumerate(item)
    ]
    # differences .1, .1, -.1, -.1: none on average; their mean stays .75
    assert [one.accuracy for one in comparable(settings)] == pytest.approx([0.9, 0.75, 0.75])


def test_a_single_lucky_run_is_not_chosen():
    """The curve peaks at the fourth of five points; the second was lucky."""
    means = [0.88, 0.915, 0.90, 0.91, 0.905]
    assert best(tried(means), [LOG]) == int(np.argmax(response(tried(means), [LOG]))) == 3
    assert best(tried(means), []) == 1


def test_a_clear_peak_between_worse_neighbours_is_chosen():
    """A parabola through these points peaks elsewhere."""
    clear = np.array([[0.85, 0.86, 0.93, 0.92, 0.80], [0.85, 0.86, 0.93, 0.92, 0.80]]).T
    assert best(tried(clear), [LOG]) == 2
    steep = np.array([[0.900, 0.905, 0.911, 0.917, 0.85], [0.901, 0.904, 0.912, 0.916, 0.84]]).T
    assert best(tried(steep), [LOG]) == 3


def test_equal_means_are_chosen_by_nll_whatever_the_order():
    """The curve through them is rounding noise."""
    items = [
        ScoredSetting(item.setting, tuple(Score("done", 1.0, nll) for _ in item.scores))
        for item, nll in zip(tried([1.0] * 5), (0.4, 0.2, 0.1, 0.3, 0.5), strict=True)
    ]
    for order in itertools.permutations(items):
        assert order[best(order, [LOG])].nll == 0.1


def test_a_collapse_at_an_end_does_not_bend_the_curve():
    values = (*RATES, 0.316, 1.0)
    means = [0.80, 0.86, 0.90, 0.91, 0.87, 0.10, 0.10]
    fitted = response(tried(means, values), [LOG])
    assert fitted[:5] == pytest.approx(response(tried(means[:5]), [LOG]))
    assert np.isneginf(fitted[5:]).all()


@pytest.mark.parametrize(
    ("means", "space"),
    [
        ([0.8, 0.9, 0.8, 0.9], [LOG]),  # fewer than five settings
        ([0.82, 0.9, 0.91, 0.88, 0.1], [LOG]),  # one of five has collapsed
        ([0.80, 0.86, 0.91, 0.90, 0.87], [LOG.model_copy(update={"scale": None})]),
        ([0.80, 0.86, 0.91, 0.90, 0.87], [LOG, LOG]),
        ([0.80, 0.86, 0.91, 0.90, 0.87], []),
    ],
)
def test_without_a_curve_the_highest_mean_is_chosen(means, space):
    items = tried(means, RATES[: len(means)])
    assert response(items, space) is None
    assert best(items, space) == int(np.argmax(means))


def test_an_incomplete_setting_is_neither_fitted_nor_chosen():
    items = tried([0.80, 0.86, 0.90, 0.91, 0.87, 0.99], (*RATES, 0.316))
    lost = ScoredSetting(items[-1].setting, (Score("diverged"),))
    assert best([*items[:-1], lost], [LOG]) == best(items[:-1], [LOG])
    assert best([lost], [LOG]) is None


@pytest.mark.parametrize(
    ("values", "chosen", "end"),
    [
        (RATES, 0.001, -1),
        (RATES, 0.1, 1),
        (RATES, 0.01, 0),
        ((0.1,), 0.1, 0),  # nothing was searched
        (("x1", "x2"), "x1", 0),  # no numbers
        ((True, False), True, 0),
    ],
)
def test_which_end_a_value_stands_at(values, chosen, end):
    items = [*tried([0.5] * len(values), values), *tried([0.5], [1000.0])]
    items[-1] = ScoredSetting(items[-1].setting, (Score("failed"),))  # an error, which says nothing
    assert at_edge({"protocol": {"training.learning_rate": chosen}}, items, LOG) == end


@pytest.mark.parametrize(("state", "end"), [("diverged", 0), ("failed", 1), ("missing", 1)])
def test_a_value_next_to_one_that_diverged_is_not_at_the_end(state, end):
    items = tried([0.5] * 4, RATES[:4])
    last = ScoredSetting({"protocol": {"training.learning_rate": RATES[4]}}, (Score(state),))
    chosen = {"protocol": {"training.learning_rate": RATES[3]}}
    assert at_edge(chosen, [*items, last], LOG) == end


@pytest.mark.parametrize(
    ("value", "end"), [(0.0012, -1), (0.0017, -1), (0.002, 0), (0.05, 0), (0.06, 1), (0.09, 1)]
)
def test_a_value_of_a_design_stands_at_an_end_only_near_that_of_the_range(value, end):
    """Whether or not it is the outermost one tried: in the last eighth of a design of eight."""
    items = tried([0.5] * 8, (0.01, 0.011, 0.012, 0.013, 0.014, 0.015, 0.016, value))
    filled = LOG.model_copy(update={"low": 0.001, "high": 0.1})
    assert at_edge({"protocol": {"training.learning_rate": value}}, items, filled) == end
