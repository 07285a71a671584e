"""The chance that an arm wins by the number of trials: exact, symmetric, with a band."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from searched import design_of, peak

from pipeline.comparison import tuning_budget
from pipeline.comparison.levels import BUDGET_COVERED
from pipeline.comparison.tuning_budget import band, budget_table, wins


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(tuning_budget, "RESAMPLES", 200)


def test_chances_are_those_of_an_enumeration():
    validation, test = np.array([0.1, 0.4, 0.3, 0.5]), np.array([0.2, 0.3, 0.6, 0.3])
    others, other_test = np.array([0.9, 0.2, 0.4]), np.array([0.3, 0.5, 0.1])
    for size in (1, 2, 3):
        results = []
        for ours in itertools.combinations(range(4), size):
            for theirs in itertools.combinations(range(3), size):
                mine = test[max(ours, key=lambda point: validation[point])]
                its = other_test[max(theirs, key=lambda point: others[point])]
                results.append((np.sign(mine - its) + 1) / 2)
        (chance,) = wins(validation, test, others, other_test, np.array([size]))
        assert chance == pytest.approx(np.mean(results))


def test_arms_with_the_same_design_have_even_chances():
    design = design_of(points=40, noise=0.02)
    table = budget_table("s", ("a", design), ("b", design), 10)
    np.testing.assert_allclose(table["chance"], 0.5)
    assert set(table["leader"]) == {""}
    assert list(table["trials"]) == list(range(1, 11))


def test_exchanged_arms_have_opposite_chances():
    one, two = design_of(points=40, noise=0.02), design_of(points=40, noise=0.02, seed=1)
    forward = budget_table("s", ("a", one), ("b", two), 10)
    backward = budget_table("s", ("b", two), ("a", one), 10)
    np.testing.assert_allclose(forward["chance"], 1 - backward["chance"])


def test_an_arm_that_is_easier_to_tune_leads_early_only():
    """One arm is nearly as good anywhere, the other is better at its peak alone."""
    easy = design_of(lambda places: 0.93 + 0 * peak(places), points=192, noise=0.004)
    hard = design_of(lambda places: 0.95 - 2 * (places[:, 0] - 0.5) ** 2, points=192, noise=0.004)
    table = budget_table("s", ("easy", easy), ("hard", hard), 32)
    assert table["leader"].iloc[0] == "easy"
    assert table["leader"].iloc[-1] == "hard"
    assert table["chance"].is_monotonic_decreasing


def test_a_lost_arm_never_wins():
    lost = design_of(points=16)
    lost.curves[:] = lost.by_seed[:] = lost.test[:] = np.nan
    table = budget_table("s", ("lost", lost), ("b", design_of(points=16)), 4)
    assert set(table["chance"]) == {0.0}
    assert set(table["leader"]) == {"b"}


def test_a_quarter_of_the_points_limits_the_number_of_trials():
    design = design_of(points=20)
    assert len(budget_table("s", ("a", design), ("b", design), 32)) == 5


def test_the_band_holds_for_all_numbers_together():
    """Of normal estimates with correlated errors it covers all in about 95 % of draws."""
    generator = np.random.default_rng(0)
    mix = np.tril(np.ones((6, 6))) / 40
    drawn = generator.standard_normal((4000, 6)) @ mix.T + 0.5
    covered = []
    for estimate in generator.standard_normal((400, 6)) @ mix.T + 0.5:
        low, high = band(estimate, drawn)
        covered.append(((low <= 0.5) & (high >= 0.5)).all())
    assert np.mean(covered) == pytest.approx(0.95, abs=0.035)  # three standard errors


def test_what_the_band_covers_is_what_was_simulated():
    results = Path(__file__).parents[2] / "benchmarks" / "results" / "searches.json"
    assert json.loads(results.read_text())["budget"]["covered"] == BUDGET_COVERED
