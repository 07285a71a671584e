"""Tables of replayed searches: their columns, random search as reference, and the jackknife."""

import itertools

import numpy as np
import pytest
from searched import UNIT, design_of, peak

from pipeline.comparison import search_methods
from pipeline.comparison.replays import Replayed, replayed
from pipeline.comparison.search_methods import (
    QUANTILES,
    Reference,
    difference_to_random,
    method_tables,
    random_reference,
)
from pipeline.planning.searches import Search


@pytest.fixture(scope="module")
def tables():
    design = design_of(points=24, noise=0.01)
    searches = [Search(method=name, trials=8) for name in ("random", "sobol", "halving")]
    return design, *method_tables("s", "a", design, searches, replays=100)


def test_curves_rise_and_regret_is_what_is_left(tables):
    design, curves, _ = tables
    for _, line in curves.groupby("method"):
        known = line.dropna(subset="mean")
        assert (known["mean"].diff().dropna() >= 0).all()
        assert (known["low"] <= known["median"]).all()
        assert (known["median"] <= known["high"]).all()
        left = design.ranked.max() - known["mean"]
        np.testing.assert_allclose(known["regret"], left)
        np.testing.assert_allclose(known["optimism"], known["mean"] - known["test"])


def test_random_search_alone_has_a_band_which_covers_its_median(tables):
    _, curves, _ = tables
    banded = curves.dropna(subset="band_low")
    assert list(banded["method"]) == ["random"] * 8
    assert (banded["band_low"] <= banded["median"]).all()
    assert (banded["median"] <= banded["band_high"]).all()


def test_a_design_that_is_not_random_has_no_band():
    design = design_of(points=16)
    object.__setattr__(design, "is_random", False)
    curves, _ = method_tables("s", "a", design, [Search(method="random", trials=4)], 10)
    assert curves["band_low"].isna().all()


def test_halving_has_no_candidate_before_its_end(tables):
    _, curves, methods = tables
    line = curves[curves["method"] == "halving"]
    assert line["ended"].iloc[-1] == 1
    assert line.loc[line["ended"] == 0, "mean"].isna().all()
    end = methods.set_index("method").loc["halving"]
    assert end["cost"] == pytest.approx(8 / 3 + 2 * 2 / 3)
    assert end["basis"].endswith("stored curves")


def test_random_search_costs_as_much_as_itself(tables):
    _, _, methods = tables
    row = methods.set_index("method").loc["random"]
    assert row["random_cost"] == pytest.approx(8, rel=0.2)
    assert row["validation"] == pytest.approx(row["random_validation"], abs=0.008)
    assert np.isnan(row["difference"])


def test_a_planted_advantage_has_an_interval_above_zero():
    """Halving finds the best of 27 at the cost of a few trainings."""
    design = design_of(points=128, noise=0.0)
    _, methods = method_tables("s", "a", design, [Search(method="halving", trials=27)], 160)
    row = methods.iloc[0]
    assert 0 < row["low"] < row["difference"] < row["high"]
    assert row["p"] < 0.05
    assert row["random_cost"] > 2 * row["cost"]


def test_methods_that_fit_models_have_fewer_replays(monkeypatch):
    monkeypatch.setattr(search_methods, "FEWER", 3)
    monkeypatch.setattr(search_methods, "HALVES", 2)
    design = design_of(points=16, noise=0.01)
    _, methods = method_tables("s", "a", design, [Search(method="tpe", trials=4)], 100)
    assert methods["replays"].item() == 3
    assert methods["basis"].item() == search_methods.STORED


def test_the_error_of_a_mean_is_the_usual_one(monkeypatch):
    """Over random halves a mean varies as over samples of the whole size: s / sqrt(n)."""
    design = design_of(lambda places: 0.9 + 0 * peak(places), points=40, noise=0.01, seed=4)
    monkeypatch.setattr(search_methods, "HALVES", 200)

    def every_point(design, search, replays, halves):
        return [
            Replayed(np.array([1]), half[:, None], np.ones(len(half)), np.ones(len(half)), 0.0)
            for half in halves
        ]

    def references(design, method, most, replays, halves):
        known = [np.array([each]) for each in (0.9, 0.9, 1.0)]
        return [Reference(np.array([1]), *known) for _ in halves]

    monkeypatch.setattr(search_methods, "replayed_on", every_point)
    monkeypatch.setattr(search_methods, "random_references", references)
    end = {"test": design.test.mean(), "random_test": 0.9}
    found = difference_to_random(design, Search(method="random", trials=2), 2, end)
    error = design.test.std(ddof=1) / np.sqrt(40)
    assert found["difference"] == pytest.approx(design.test.mean() - 0.9)
    assert (found["high"] - found["low"]) / 2 == pytest.approx(1.972 * error, rel=0.2)


def test_a_method_at_nearest_points_is_compared_with_random_search_there(monkeypatch):
    """A search that proposes at random and is taken to nearest points is no better than random.

    Against points drawn, it seems to be: the points beside empty regions are taken more often.
    """
    monkeypatch.setattr(search_methods, "HALVES", 2)
    spread = np.concatenate([np.linspace(0, 0.1, 60), [0.5, 0.6, 0.7]])
    design = design_of(
        lambda places: np.where(places[:, 0] > 0.4, 0.9, 0.8) - 0.01 * places[:, 0],
        {"rate": UNIT["rate"]},
        values=[(float(place),) for place in spread],
    )
    drawn = random_reference(design, "halving", 4, 300)
    nearest = random_reference(design, "sobol", 4, 300)
    assert nearest.test[0] > drawn.test[0] + 0.03  # of 0.1 between both levels
    search = Search(method="sobol", trials=4)
    _, methods = method_tables("s", "a", design, [search], replays=300)
    row = methods.iloc[0]
    assert row["random_test"] == pytest.approx(nearest.test[-1], abs=0.006)
    assert abs(row["difference"]) < 0.02
    assert row["test"] - drawn.test[3] > 0.03


def test_the_reference_of_points_drawn_is_exact():
    design = design_of(points=20, noise=0.01)
    reference = random_reference(design, "halving", 3, 1)
    assert reference.at(20)["random_validation"] == pytest.approx(design.ranked.max())
    assert reference.at(1)["random_test"] == pytest.approx(design.test.mean())
    assert reference.at(1.5)["random_validation"] == pytest.approx(reference.validation[:2].mean())


def test_searches_that_find_nothing_are_counted_and_not_tested():
    """With most runs lost, halving stops at a lost one: the others are no fair sample."""
    design = design_of(points=64, noise=0.01)
    lost = np.random.default_rng(3).random(64) < 0.6
    design.curves[lost, -1] = np.nan
    search = Search(method="halving", trials=9)
    row = method_tables("s", "a", design, [search], replays=100)[1].iloc[0]
    assert row["ended"] < 0.7
    # three trainings cost as much as this search; all are lost with a chance of about 0.6 cubed
    whole = len(design.values)
    count = int(lost.sum())
    chance = [
        np.prod([(count - step) / (whole - step) for step in range(size)])
        for size in (int(row["cost"]), int(row["cost"]) + 1)
    ]
    expected = 1 - np.interp(row["cost"] % 1, [0, 1], chance)
    assert row["random_ended"] == pytest.approx(expected)
    assert np.isnan([row["difference"], row["low"], row["high"], row["p"]]).all()


def test_random_search_is_that_of_all_its_draws():
    """Enumerate the draws of 7 points of which 3 are lost."""
    design = design_of(points=7)
    design.curves[:3, -1] = np.nan
    rows = method_tables("s", "a", design, [Search(method="random", trials=3)], 1)[0]
    for size, row in zip((1, 2, 3), rows.to_dict("records"), strict=True):
        draws = itertools.combinations(range(7), size)
        chosen = np.array([max(draw, key=lambda point: design.ranked[point]) for draw in draws])
        scored = chosen[design.ranked[chosen] >= 0]
        assert row["ended"] == pytest.approx(len(scored) / len(chosen))
        assert row["mean"] == pytest.approx(design.ranked[scored].mean())
        assert row["test"] == pytest.approx(design.test[scored].mean())
        scores = np.where(design.ranked[chosen] >= 0, design.ranked[chosen], -np.inf)
        for name, level in QUANTILES.items():
            quantile = np.quantile(scores, level, method="inverted_cdf")
            expected = quantile if np.isfinite(quantile) else np.nan
            assert row[name] == pytest.approx(expected, nan_ok=True)


def test_percentiles_of_replays_count_searches_that_find_nothing_as_the_lowest():
    design = design_of(points=64)
    design.curves[np.random.default_rng(3).random(64) < 0.5, -1] = np.nan
    search = Search(method="halving", trials=9)
    row = method_tables("s", "a", design, [search], replays=100)[0].iloc[-1]
    chosen = replayed(design, search, 100).chosen[:, -1]
    assert 0.1 < (chosen < 0).mean() < 0.5
    scores = np.sort(design.ranked[chosen[chosen >= 0]])
    assert np.isnan(row["low"])
    assert row["median"] < np.median(scores)
    assert (scores <= row["median"]).mean() + (chosen < 0).mean() >= 0.5
