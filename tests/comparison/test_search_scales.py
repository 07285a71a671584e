"""Random search on two scales, by enumeration, simulation and planted responses."""

from itertools import product

import numpy as np
import pytest
from searched import design_of

from pipeline.comparison.search_scales import SCALES, TRIALS, best_of_weighted, scales
from pipeline.planning.spaces import Space

LOG = {"rate": Space((), "log", 1e-3, 1.0)}


def test_chances_are_those_of_all_draws():
    scores, weights, draws = np.array([0.3, 0.9, 0.9, 0.1]), np.array([1.0, 2.0, 3.0, 4.0]), 3
    expected = np.zeros(4)
    for drawn in product(range(4), repeat=draws):
        best = [point for point in drawn if scores[point] == scores[list(drawn)].max()]
        chance = np.prod(weights[list(drawn)] / weights.sum())
        for point in best:
            expected[point] += chance / len(best)
    assert best_of_weighted(scores, weights, draws) == pytest.approx(expected)


def near(place):
    """Return accuracies with a narrow peak at a place of the logarithmic scale."""
    return lambda places: 0.9 - 2 * np.square(places[:, 0] - place)


@pytest.mark.parametrize(("place", "sign"), [(0.3, -1), (0.95, 1)])
def test_the_scale_on_which_good_rates_are_frequent_wins(place, sign):
    design = design_of(near(place), LOG, points=4000, noise=0.002)
    (row,) = scales("s", "a", design, "rate").to_dict("records")
    assert sign * row["difference"] > 0
    assert np.sign([row["low"], row["high"]]).tolist() == [sign, sign]
    uniform = (np.log10(np.random.default_rng(0).uniform(1e-3, 1, (4000, TRIALS))) + 3) / 3
    log = np.random.default_rng(0).random((4000, TRIALS))
    found = [np.mean([near(place)(x[:, None]).max() for x in draws]) for draws in (log, uniform)]
    assert [row["log_test"], row["uniform_test"]] == pytest.approx(found, abs=0.01)


def test_a_search_that_finds_nothing_has_the_lowest_score():
    design = design_of(near(0.3), LOG, points=200)
    lost = design.places[:, 0] > 0.5
    design.curves[lost, -1] = design.by_seed[:, lost] = design.test[lost] = np.nan
    (row,) = scales("s", "a", design, "rate").to_dict("records")
    lowest = np.nanmin(design.test)
    assert lowest < row["uniform_test"] < row["log_test"]


def test_without_a_logarithmic_scale_there_is_no_row():
    for rate in (None, "rate"):
        assert tuple(scales("s", "a", design_of(), rate)) == SCALES
        assert scales("s", "a", design_of(), rate).empty
