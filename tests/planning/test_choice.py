"""The choice over an ordered space: a response curve, and what it falls back to.

Curves against their own fit, settings with further seeds, peaks, ties, collapses, incomplete
settings, and ends of a range.
"""

import itertools

import numpy as np
import pytest

from pipeline.config.plan import Dimension
from pipeline.planning.choice import Score, ScoredSetting, at_edge, best, comparable, response
from pipeline.planning.response import smoothed

RATES = (0.001, 0.00316, 0.01, 0.0316, 0.1)
SEVEN_RATES = (*RATES, 0.316, 1.0)
LOG = Dimension(part="protocol", key="training.learning_rate", scale="log")
NO_SCALE = LOG.model_copy(update={"scale": None})
PEAK = [0.80, 0.86, 0.91, 0.90, 0.87]  # means at `RATES`


def setting_of(value):
    """Return a setting by its learning rate."""
    return {"protocol": {"training.learning_rate": value}}


def scored(value, accuracies, nll=0.1):
    """Return a setting whose runs are done, with an accuracy for each seed."""
    scores = tuple(Score("done", accuracy, nll) for accuracy in accuracies)
    return ScoredSetting(setting_of(value), scores)


def ended(value, state):
    """Return a setting with one run, without a score."""
    return ScoredSetting(setting_of(value), (Score(state),))


def settings_of(accuracies, values=RATES):
    """Return a setting for each value, with its accuracies by seed (settings, seeds)."""
    return [scored(value, row) for value, row in zip(values, accuracies, strict=True)]


def single_runs(accuracies, values=RATES):
    """Return a setting for each value, with one run."""
    return settings_of([[accuracy] for accuracy in accuracies], values)


def accuracies_of(settings):
    """Return the mean accuracies of settings."""
    return [item.accuracy for item in settings]


def test_the_curve_is_over_the_scale_and_pairs_the_scores_of_a_seed():
    by_seed = np.array([[0.80, 0.86, 0.89, 0.91, 0.87], [0.79, 0.87, 0.88, 0.90, 0.88]])
    curve = smoothed(np.log(RATES), by_seed)
    assert response(settings_of(by_seed.T), [LOG]) == pytest.approx(curve)


# Settings with further seeds

NUMBERS_OF_SEEDS = [2, 2, 5, 5, 2]


@pytest.fixture
def effects():
    """Return what each of five settings and each of five seeds adds to a score."""
    generator = np.random.default_rng(0)
    of_settings = generator.normal(0.9, 0.02, 5)
    of_seeds = generator.normal(0, 0.05, 5)
    return of_settings, of_seeds


@pytest.fixture
def uneven_settings(effects):
    """Return settings whose scores are the sum of both effects; two have further seeds."""
    of_settings, of_seeds = effects
    scores = of_settings[:, None] + of_seeds
    rows = [row[:count] for row, count in zip(scores, NUMBERS_OF_SEEDS, strict=True)]
    return settings_of(rows)


def test_further_seeds_are_compared_without_their_shift(effects, uneven_settings):
    of_settings, of_seeds = effects
    means = of_settings + of_seeds[:2].mean()  # over the seeds that all settings have
    compared = comparable(uneven_settings)
    assert accuracies_of(compared) == pytest.approx(means)
    assert [len(item.scores) for item in compared] == NUMBERS_OF_SEEDS


def test_scores_without_a_shift_stay_as_they_are(uneven_settings):
    compared = comparable(uneven_settings)
    assert accuracies_of(comparable(compared)) == pytest.approx(accuracies_of(compared))


def test_the_choice_among_settings_with_further_seeds_is_without_their_shift(
    effects, uneven_settings
):
    of_settings, _ = effects
    curve = response(comparable(uneven_settings), [LOG])
    assert response(uneven_settings, [LOG]) == pytest.approx(curve)
    assert best(uneven_settings, []) == int(of_settings.argmax())


def test_what_further_seeds_say_moves_the_difference_of_their_settings_alone():
    """The second setting is ahead by 0.1 at two seeds and behind by 0.1 at two: 0 on average.

    The mean of both stays 0.75, that at the seeds which the first setting has too.
    """
    rows = [[0.9, 0.9], [0.8, 0.8, 0.5, 0.5], [0.7, 0.7, 0.6, 0.6]]
    settings = settings_of(rows, RATES[:3])
    assert accuracies_of(comparable(settings)) == pytest.approx([0.9, 0.75, 0.75])


# Peaks and ties


def test_a_single_lucky_run_is_not_chosen():
    """The curve peaks at the fourth of five points; the second was lucky."""
    settings = single_runs([0.88, 0.915, 0.90, 0.91, 0.905])
    assert response(settings, [LOG]).argmax() == 3
    assert best(settings, [LOG]) == 3
    assert best(settings, []) == 1


@pytest.mark.parametrize(
    ("by_seed", "peak"),
    [
        pytest.param([[0.85, 0.86, 0.93, 0.92, 0.80]] * 2, 2, id="clear"),
        pytest.param(
            [[0.900, 0.905, 0.911, 0.917, 0.85], [0.901, 0.904, 0.912, 0.916, 0.84]], 3, id="steep"
        ),
    ],
)
def test_a_clear_peak_between_worse_neighbours_is_chosen(by_seed, peak):
    """A parabola through these points peaks elsewhere."""
    assert best(settings_of(np.transpose(by_seed)), [LOG]) == peak


def test_equal_means_are_chosen_by_nll_whatever_the_order():
    """The curve through them is rounding noise."""
    nlls = (0.4, 0.2, 0.1, 0.3, 0.5)
    settings = [scored(rate, [1.0], nll) for rate, nll in zip(RATES, nlls, strict=True)]
    for order in itertools.permutations(settings):
        assert order[best(order, [LOG])].nll == min(nlls)


# Collapses, and spaces without a curve


def test_a_collapse_at_an_end_does_not_bend_the_curve():
    means = [0.80, 0.86, 0.90, 0.91, 0.87]
    curve = response(single_runs([*means, 0.10, 0.10], SEVEN_RATES), [LOG])
    assert curve[:5] == pytest.approx(response(single_runs(means), [LOG]))
    assert np.isneginf(curve[5:]).all()


@pytest.mark.parametrize(
    ("means", "space"),
    [
        pytest.param([0.8, 0.9, 0.8, 0.9], [LOG], id="four-settings"),
        pytest.param([0.82, 0.9, 0.91, 0.88, 0.1], [LOG], id="four-that-did-not-collapse"),
        pytest.param(PEAK, [NO_SCALE], id="no-scale"),
        pytest.param(PEAK, [LOG, LOG], id="two-dimensions"),
        pytest.param(PEAK, [], id="no-dimension"),
    ],
)
def test_without_a_curve_the_highest_mean_is_chosen(means, space):
    settings = single_runs(means, RATES[: len(means)])
    assert response(settings, space) is None
    assert best(settings, space) == int(np.argmax(means))


def test_an_incomplete_setting_is_neither_fitted_nor_chosen():
    settings = single_runs([0.80, 0.86, 0.90, 0.91, 0.87])
    lost = ended(0.316, "diverged")
    assert best([*settings, lost], [LOG]) == best(settings, [LOG])
    assert best([lost], [LOG]) is None


# Ends of a range


@pytest.mark.parametrize(
    ("values", "chosen", "end"),
    [
        pytest.param(RATES, 0.001, -1, id="lowest"),
        pytest.param(RATES, 0.1, 1, id="highest"),
        pytest.param(RATES, 0.01, 0, id="inside"),
        pytest.param((0.1,), 0.1, 0, id="one-value"),
        pytest.param(("x1", "x2"), "x1", 0, id="names"),
        pytest.param((True, False), True, 0, id="booleans"),
    ],
)
def test_the_end_of_the_space_at_which_a_value_is(values, chosen, end):
    """An error at a higher value says nothing about it."""
    settings = [*single_runs([0.5] * len(values), values), ended(1000.0, "failed")]
    assert at_edge(setting_of(chosen), settings, LOG) == end


@pytest.mark.parametrize(("state", "end"), [("diverged", 0), ("failed", 1), ("missing", 1)])
def test_a_value_next_to_one_that_diverged_is_not_at_the_end(state, end):
    *inner, last = RATES
    settings = [*single_runs([0.5] * len(inner), inner), ended(last, state)]
    assert at_edge(setting_of(inner[-1]), settings, LOG) == end


@pytest.mark.parametrize(
    ("value", "end"), [(0.0012, -1), (0.0017, -1), (0.002, 0), (0.05, 0), (0.06, 1), (0.09, 1)]
)
def test_a_value_of_a_design_is_at_an_end_only_near_the_end_of_the_range(value, end):
    """Whether or not it is the outermost one tried: in the last eighth of a design of eight."""
    others = (0.01, 0.011, 0.012, 0.013, 0.014, 0.015, 0.016)
    settings = single_runs([0.5] * 8, (*others, value))
    dimension = LOG.model_copy(update={"low": 0.001, "high": 0.1})
    assert at_edge(setting_of(value), settings, dimension) == end
