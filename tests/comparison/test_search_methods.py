"""Tables of what each method of search finds: curves by cost, and a row per method for its end.

What the columns mean, random search against an enumeration of its draws, the random search that a
method is compared with, the interval of their difference, and searches that find nothing.
"""

import itertools
from dataclasses import replace
from math import comb
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from searched import UNIT, design_of

from pipeline.comparison import search_methods
from pipeline.comparison.designs import Design
from pipeline.comparison.replays import Replayed, replayed
from pipeline.comparison.search_methods import (
    QUANTILES,
    Reference,
    difference_to_random,
    method_tables,
    random_reference,
)
from pipeline.planning.searches import Search

METHODS = ("random", "sobol", "halving")
TRIALS = 8
SPENT_BY_HALVING = (
    TRIALS * 1 / 3 + (TRIALS // 3) * 2 / 3
)  # a third of the points goes on to the end


class Tables(NamedTuple):
    """The tables of some methods of search, and the design that they are replayed on."""

    design: Design
    curves: pd.DataFrame
    ends: pd.DataFrame

    def curve(self, method):
        """Return the rows of a method at the costs at which it has a candidate."""
        rows = self.curves[self.curves["method"] == method]
        return rows.dropna(subset="mean")

    def end(self, method):
        """Return the row of a method."""
        return self.ends.set_index("method").loc[method]


def tables_of(design, methods, trials, replays):
    searches = [Search(method=method, trials=trials) for method in methods]
    return Tables(design, *method_tables("s", "a", design, searches, replays))


@pytest.fixture(scope="module")
def tables():
    return tables_of(design_of(points=24, noise=0.01), METHODS, TRIALS, replays=100)


def design_with_losses(points, chance, seed=3):
    """Return a design in which runs diverged at random; and which are lost (points,)."""
    design = design_of(points=points, noise=0.01)
    lost = np.random.default_rng(seed).random(points) < chance
    design.curves[lost, -1] = np.nan
    return design, lost


# Curves by cost


@pytest.mark.parametrize("method", METHODS)
def test_the_mean_of_the_best_never_falls(tables, method):
    assert (tables.curve(method)["mean"].diff().dropna() >= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_percentiles_are_in_order(tables, method):
    curve = tables.curve(method)
    assert (curve["low"] <= curve["median"]).all()
    assert (curve["median"] <= curve["high"]).all()


@pytest.mark.parametrize("method", METHODS)
def test_regret_is_the_distance_from_the_best_point_of_the_design(tables, method):
    curve = tables.curve(method)
    distances = tables.design.ranked.max() - curve["mean"]
    np.testing.assert_allclose(curve["regret"], distances)


@pytest.mark.parametrize("method", METHODS)
def test_optimism_is_validation_minus_test(tables, method):
    curve = tables.curve(method)
    np.testing.assert_allclose(curve["optimism"], curve["mean"] - curve["test"])


def test_random_search_alone_has_a_band(tables):
    banded = tables.curves.dropna(subset=["band_low", "band_high"])
    assert list(banded["method"]) == ["random"] * TRIALS


def test_the_band_of_random_search_covers_its_median(tables):
    curve = tables.curve("random")
    assert (curve["band_low"] <= curve["median"]).all()
    assert (curve["median"] <= curve["band_high"]).all()


def test_a_design_that_is_not_random_has_no_band():
    design = replace(design_of(points=16), is_random=False)
    curves = tables_of(design, ["random"], trials=4, replays=10).curves
    assert curves[["band_low", "band_high"]].isna().all(axis=None)


def test_halving_has_no_candidate_before_a_point_is_trained_to_its_end(tables):
    curve = tables.curves[tables.curves["method"] == "halving"]
    assert curve["ended"].tolist() == [0, 0, 0, 1]
    assert curve["mean"].isna().tolist() == [True, True, True, False]


def test_random_search_is_the_mean_over_all_its_draws():
    """Enumerate the draws from 7 points of which 3 are lost."""
    points, lost, trials = 7, 3, 3
    design = design_of(points=points)
    design.curves[:lost, -1] = np.nan
    curves = tables_of(design, ["random"], trials, replays=1).curves
    assert curves["cost"].tolist() == [1, 2, 3]
    for row in curves.to_dict("records"):
        draws = itertools.combinations(range(points), row["cost"])
        chosen = np.array([max(draw, key=lambda point: design.ranked[point]) for draw in draws])
        is_candidate = chosen >= lost
        candidates = chosen[is_candidate]
        assert row["ended"] == pytest.approx(is_candidate.mean())
        assert row["mean"] == pytest.approx(design.ranked[candidates].mean())
        assert row["test"] == pytest.approx(design.test[candidates].mean())
        scores = np.where(is_candidate, design.ranked[chosen], -np.inf)
        for name, level in QUANTILES.items():
            quantile = np.quantile(scores, level, method="inverted_cdf")
            expected = quantile if np.isfinite(quantile) else np.nan
            assert row[name] == pytest.approx(expected, nan_ok=True)


# The ends of searches


def test_halving_pays_for_every_epoch_of_a_point_once(tables):
    assert tables.end("halving")["cost"] == pytest.approx(SPENT_BY_HALVING)


def test_the_basis_of_halving_is_its_draws_and_stored_curves(tables):
    assert tables.end("halving")["basis"] == "points drawn, stored curves"


def test_random_search_is_its_own_reference(tables):
    end = tables.end("random")
    assert end["random_cost"] == pytest.approx(TRIALS)
    for score in ("validation", "test", "ended"):
        assert end[f"random_{score}"] == pytest.approx(end[score])


def test_random_search_is_not_tested_against_itself(tables):
    assert tables.end("random")[["difference", "low", "high", "p"]].isna().all()


def test_methods_that_fit_models_have_fewer_replays(monkeypatch):
    monkeypatch.setattr(search_methods, "FEWER", 3)
    monkeypatch.setattr(search_methods, "HALVES", 2)
    design = design_of(points=16, noise=0.01)
    assert tables_of(design, ["tpe"], trials=4, replays=100).end("tpe")["replays"] == 3


# The random search that a method is compared with


@pytest.fixture
def drawn_reference():
    """Return the random search that takes points as they are drawn, from 20 points."""
    design = design_of(points=20, noise=0.01)
    return design, random_reference(design, "halving", 3, replays=1)


def test_random_search_over_all_points_finds_the_best(drawn_reference):
    design, reference = drawn_reference
    assert reference.at(20)["random_validation"] == pytest.approx(design.ranked.max())


def test_the_first_point_of_random_search_is_the_average_one(drawn_reference):
    design, reference = drawn_reference
    assert reference.at(1)["random_test"] == pytest.approx(design.test.mean())


def test_between_two_costs_random_search_is_between_its_scores(drawn_reference):
    _, reference = drawn_reference
    between = reference.at(1.5)["random_validation"]
    assert between == pytest.approx(reference.validation[:2].mean())


LOW_LEVEL, HIGH_LEVEL = 0.8, 0.9


@pytest.fixture
def uneven_design():
    """Return 60 points of low scores side by side, and 3 of high ones with room around them."""
    crowded, alone = np.linspace(0, 0.1, 60), [0.5, 0.6, 0.7]

    def response(places):
        levels = np.where(places[:, 0] > 0.4, HIGH_LEVEL, LOW_LEVEL)
        return levels - 0.01 * places[:, 0]  # so that no scores are equal

    values = [(float(place),) for place in (*crowded, *alone)]
    return design_of(response, {"rate": UNIT["rate"]}, values=values)


def test_at_nearest_points_random_search_meets_those_beside_empty_regions_more_often(uneven_design):
    drawn = random_reference(uneven_design, "halving", 4, replays=1)
    nearest = random_reference(uneven_design, "sobol", 4, replays=300)
    assert nearest.test[0] > drawn.test[0] + 0.3 * (HIGH_LEVEL - LOW_LEVEL)


def test_a_method_at_nearest_points_is_compared_with_random_search_there(
    uneven_design, monkeypatch
):
    """Proposals of `sobol` are no better than random ones, but would seem so against draws."""
    monkeypatch.setattr(search_methods, "HALVES", 2)
    trials = 4
    drawn = random_reference(uneven_design, "halving", trials, replays=1)
    nearest = random_reference(uneven_design, "sobol", trials, replays=300)
    end = tables_of(uneven_design, ["sobol"], trials, replays=300).end("sobol")
    assert end["random_test"] == pytest.approx(nearest.test[-1], abs=0.006)
    assert abs(end["difference"]) < 0.2 * (HIGH_LEVEL - LOW_LEVEL)
    assert end["test"] - drawn.test[trials - 1] > 0.3 * (HIGH_LEVEL - LOW_LEVEL)


# The difference to random search


def test_a_planted_advantage_has_an_interval_above_zero():
    """Halving finds the best of 27 at the cost of a few trainings."""
    end = tables_of(design_of(points=128), ["halving"], trials=27, replays=160).end("halving")
    assert 0 < end["low"] < end["difference"] < end["high"]
    assert end["p"] < 0.05
    assert end["random_cost"] > 2 * end["cost"]


def test_the_error_of_a_mean_is_the_usual_one(monkeypatch):
    """A "search" whose score is the mean over all points has the error s / sqrt(n)."""
    points, halves, random_score = 40, 200, 0.9
    design = design_of(lambda places: np.full(len(places), 0.9), points=points, noise=0.01, seed=4)
    monkeypatch.setattr(search_methods, "HALVES", halves)

    def searches_that_choose_every_point(design, search, replays, parts):
        alike = {"costs": np.array([1]), "distance": 0.0}
        return [
            Replayed(chosen=part[:, None], spent=np.ones(len(part)), settings=part, **alike)
            for part in parts
        ]

    def references_of_one_score(design, method, most, replays, parts):
        score, ended = np.array([random_score]), np.array([1.0])
        return [Reference(np.array([1]), score, score, ended) for _ in parts]

    monkeypatch.setattr(search_methods, "replayed_on", searches_that_choose_every_point)
    monkeypatch.setattr(search_methods, "random_references", references_of_one_score)
    end = {"test": design.test.mean(), "random_test": random_score}
    row = difference_to_random(design, Search(method="random", trials=2), 2, end)
    error = design.test.std(ddof=1) / np.sqrt(points)
    expected_width = stats.t.ppf(0.975, halves - 1) * error
    assert row["difference"] == pytest.approx(design.test.mean() - random_score)
    assert row["high"] - row["difference"] == pytest.approx(expected_width, rel=0.2)
    assert row["difference"] - row["low"] == pytest.approx(expected_width, rel=0.2)


# Searches that find nothing


@pytest.fixture(scope="module")
def mostly_lost():
    """Return halving where most runs are lost, so that many searches end with none; the losses."""
    design, lost = design_with_losses(points=64, chance=0.6)
    return tables_of(design, ["halving"], trials=9, replays=100).end("halving"), lost


def test_searches_that_find_nothing_are_counted_and_not_tested(mostly_lost):
    """Those that find something are no fair sample of all."""
    end, _ = mostly_lost
    assert end["ended"] < 0.7
    assert end[["difference", "low", "high", "p"]].isna().all()


def test_random_search_finds_nothing_where_all_its_points_are_lost(mostly_lost):
    end, lost = mostly_lost

    def chance_of_losing_all(trials):
        return comb(int(lost.sum()), trials) / comb(len(lost), trials)

    whole, fraction = divmod(end["cost"], 1)
    chances = [chance_of_losing_all(int(whole) + more) for more in (0, 1)]
    chance = (1 - fraction) * chances[0] + fraction * chances[1]
    assert end["random_ended"] == pytest.approx(1 - chance)


def test_percentiles_count_searches_that_find_nothing_as_the_lowest():
    design, _ = design_with_losses(points=64, chance=0.5)
    search, replays = Search(method="halving", trials=9), 100
    row = tables_of(design, ["halving"], search.trials, replays).curve("halving").iloc[-1]
    chosen = replayed(design, search, replays).chosen[:, -1]
    scores = np.sort(np.where(chosen >= 0, design.ranked[chosen], -np.inf))
    nothing = int(np.isinf(scores).sum())
    tenth, middle = scores[9:11], scores[49:51]  # around the percentiles 10 and 50 of 100 searches
    assert 10 < nothing < 50
    assert np.isinf(tenth).all()
    assert np.isnan(row["low"])
    assert middle[0] <= row["median"] <= middle[1]
    assert row["median"] < np.median(scores[nothing:])
