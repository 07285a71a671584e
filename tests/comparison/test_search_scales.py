"""Random search on two scales, by enumeration, simulation and planted responses."""

from itertools import product

import numpy as np
import pytest
from searched import design_of

from pipeline.comparison.search_scales import SCALES, TRIALS, best_of_weighted, scales
from pipeline.planning.spaces import Space

LOWEST, HIGHEST = 1e-3, 1.0
LOG = {"rate": Space((), "log", LOWEST, HIGHEST)}
SEARCHES = 4000


def row_of(design):
    """Return the row of a design with one hyperparameter, the rate."""
    (row,) = scales("s", "a", design, "rate").to_dict("records")
    return row


# The best of weighted draws


def test_chances_are_those_of_all_draws():
    """Points that are drawn with equal highest scores share the chance of the draw."""
    scores = np.array([0.3, 0.9, 0.9, 0.1])
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    draws = 3
    expected = np.zeros(len(scores))
    for points in product(range(len(scores)), repeat=draws):
        highest = scores[list(points)].max()
        best = [point for point in points if scores[point] == highest]
        chance = np.prod(weights[list(points)] / weights.sum())
        for point in best:
            expected[point] += chance / len(best)
    assert best_of_weighted(scores, weights, draws) == pytest.approx(expected)


# Planted responses


def peak_at(place):
    """Return accuracies by place, with a narrow peak at a place of the logarithmic scale."""

    def response(places):
        return 0.9 - 2 * np.square(places[:, 0] - place)

    return response


def simulated(response, rates):
    """Return the mean best accuracy of searches, by the rates that they draw (searches, trials)."""
    places = np.log(rates / LOWEST) / np.log(HIGHEST / LOWEST)
    accuracies = response(places.reshape(-1, 1)).reshape(rates.shape)
    return accuracies.max(axis=1).mean()


@pytest.mark.parametrize(("place", "sign"), [(0.3, -1), (0.95, 1)])
def test_the_scale_on_which_good_rates_are_frequent_wins(place, sign):
    row = row_of(design_of(peak_at(place), LOG, points=4000, noise=0.002))
    signs = np.sign([row["difference"], row["low"], row["high"]])
    assert signs.tolist() == [sign] * 3


@pytest.mark.parametrize("place", [0.3, 0.95])
def test_both_scores_are_those_of_simulated_searches(place):
    row = row_of(design_of(peak_at(place), LOG, points=4000, noise=0.002))
    shape = (SEARCHES, TRIALS)
    uniform_rates = np.random.default_rng(0).uniform(LOWEST, HIGHEST, shape)
    log_rates = LOWEST * (HIGHEST / LOWEST) ** np.random.default_rng(0).random(shape)
    assert row["uniform_test"] == pytest.approx(simulated(peak_at(place), uniform_rates), abs=0.01)
    assert row["log_test"] == pytest.approx(simulated(peak_at(place), log_rates), abs=0.01)


def test_a_search_that_finds_nothing_has_the_lowest_score():
    """Every run of a high rate is lost, so that searches on the uniform scale often find none."""
    design = design_of(peak_at(0.3), LOG, points=200)
    is_lost = design.places[:, 0] > 0.5
    design.curves[is_lost, -1] = np.nan
    design.by_seed[:, is_lost] = np.nan
    design.test[is_lost] = np.nan
    row = row_of(design)
    lowest = np.nanmin(design.test)
    assert lowest < row["uniform_test"] < row["log_test"]


# Designs without such a scale


@pytest.mark.parametrize("rate", [None, "rate"], ids=["no-rate", "uniform-rate"])
def test_without_a_logarithmic_scale_there_is_no_row(rate):
    table = scales("s", "a", design_of(), rate)
    assert tuple(table.columns) == SCALES
    assert table.empty
