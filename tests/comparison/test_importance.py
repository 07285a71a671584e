"""The importance of hyperparameters: what is planted is found, what is equal is not ranked."""

import numpy as np
import pytest
from scipy import stats
from searched import UNIT, design_of, peak

from pipeline.comparison import importance as module
from pipeline.comparison.importance import (
    IMPORTANCE,
    divergences,
    importance,
    leads,
    ranks,
    study_of,
)
from pipeline.comparison.levels import SMALL_DESIGN
from pipeline.planning.spaces import Space


@pytest.fixture(autouse=True)
def fewer_shuffles(monkeypatch):
    monkeypatch.setattr(module, "SHUFFLES", 20)
    monkeypatch.setattr(module, "HALVES", 12)


def two(places):
    """Return accuracies on which the first two coordinates have equal effects."""
    near = np.square(places[:, 0] - 0.6) + np.square(places[:, 1] - 0.4)
    return 0.95 - 0.3 * near


def test_a_planted_hyperparameter_is_the_first_and_the_only_one_above_chance():
    table = importance("s", "a", design_of(peak, points=150, noise=0.01))
    first, *others = table.to_dict("records")
    assert first["hyperparameter"] == "rate"
    assert (first["first_rank"], first["last_rank"]) == (1, 1)
    assert first["importance"] > first["chance"]
    assert all(row["importance"] < row["chance"] for row in others)
    assert {(row["first_rank"], row["last_rank"]) for row in others} == {(2, 3)}
    assert table["importance"].sum() == pytest.approx(1)


def test_two_equal_hyperparameters_cannot_be_ranked():
    table = importance("s", "a", design_of(two, points=150, noise=0.005))
    rows = table.set_index("hyperparameter")
    assert list(rows.loc[["rate", "momentum"], "first_rank"]) == [1, 1]
    assert list(rows.loc[["rate", "momentum"], "last_rank"]) == [2, 2]
    assert rows.loc["decay", "first_rank"] == 3


def test_noise_alone_seldom_matters_more_than_by_chance(monkeypatch):
    monkeypatch.setattr(module, "HALVES", 2)
    flat = [
        design_of(lambda places: 0.9 + 0 * peak(places), points=60, noise=0.01, seed=seed)
        for seed in range(6)
    ]
    tables = [importance("s", "a", design) for design in flat]
    above = [table for table in tables if (table["importance"] > table["chance"]).any()]
    assert len(above) <= 2  # 0.3 are expected, more with so few shuffles


def test_a_lead_is_over_the_rival_that_is_least_certainly_below():
    """By hand: the errors of 0.5 - 0.3 and 0.5 - 0.2 over halves are 0.1 and 0.3."""
    shares = np.array([0.5, 0.3, 0.2])
    drawn = np.array([[0.5, 0.3 + step, 0.2 + 3 * step] for step in (-0.1, 0.0, 0.1)])
    columns = leads(["a", "b", "c"], shares, drawn)
    assert columns["rival"] == ["c", "a", "a"]
    assert columns["lead"] == pytest.approx([0.3, -0.2, -0.3])
    width = stats.t.ppf(1 - 0.05 / 2 / 2, 2)
    assert columns["lead_low"] == pytest.approx(
        [0.3 - 0.3 * width, -0.2 - 0.1 * width, -0.3 - 0.3 * width]
    )
    assert np.isnan(leads(["a"], shares[:1], drawn[:, :1])["lead"]).all()


def test_the_lead_of_a_planted_hyperparameter_is_above_zero():
    table = importance("s", "a", design_of(peak, points=150, noise=0.01))
    planted, *others = table.to_dict("records")
    assert 0 < planted["lead_low"] < planted["lead"] < planted["lead_high"]
    assert all(row["rival"] == planted["hyperparameter"] for row in others)
    assert all(row["lead_high"] < 0 for row in others)


def test_a_list_of_values_has_an_importance_too():
    spaces = {"width": Space(([4], [8], [64])), **UNIT}
    design = design_of(
        lambda places: 0.9 - 0.1 * (places[:, 0] < 0.7), spaces, points=90, noise=0.01
    )
    sizes = divergences(design, study_of(design), design.ranked)
    assert sizes.argmax() == 0


def test_a_lost_run_counts_as_the_worst():
    design = design_of(lambda places: 0.9 + 0 * peak(places), points=100, noise=0.001)
    design.curves[design.places[:, 1] > 0.3, -1] = np.nan
    table = importance("s", "a", design)
    assert table["hyperparameter"].iloc[0] == "momentum"


def test_a_small_design_says_nothing():
    table = importance("s", "a", design_of(points=SMALL_DESIGN - 1))
    assert table.empty
    assert tuple(table.columns) == IMPORTANCE


@pytest.mark.parametrize(
    ("low", "high", "first", "last"),
    [
        ([0.5, 0.1, 0.0], [0.9, 0.4, 0.05], [1, 2, 3], [1, 2, 3]),
        ([0.3, 0.2, 0.0], [0.9, 0.4, 0.1], [1, 1, 3], [2, 2, 3]),
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1, 1, 1], [3, 3, 3]),
    ],
)
def test_ranks_are_those_that_intervals_leave(low, high, first, last):
    assert ranks(np.array(low), np.array(high)) == (first, last)


def test_a_point_that_is_left_out_is_as_one_that_is_not_there():
    design = design_of(peak, points=40, noise=0.01)
    kept = np.arange(0, 40, 2)
    scores = np.full(40, np.nan)
    scores[kept] = design.ranked[kept]
    half = design.subset(kept)
    there = divergences(half, study_of(half), half.ranked)
    assert (divergences(design, study_of(design), scores) == there).all()
