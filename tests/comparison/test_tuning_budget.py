"""The chance that an arm wins against another, by the number of trials of both.

Chances against an enumeration of all draws, symmetry of the arms, the leader early and late, lost
arms, the largest number of trials, and the coverage of the simultaneous band.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from searched import design_of

from pipeline.comparison import tuning_budget
from pipeline.comparison.levels import BUDGET_COVERED
from pipeline.comparison.tuning_budget import band, budget_table, wins

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "searches.json"


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch):
    """Take 200 resamples, which are enough here and five times as quick."""
    monkeypatch.setattr(tuning_budget, "RESAMPLES", 200)


@pytest.mark.parametrize("trials", [1, 2, 3])
def test_chances_are_those_of_an_enumeration(trials):
    validation, test = [0.1, 0.4, 0.3, 0.5], [0.2, 0.3, 0.6, 0.3]
    other_validation, other_test = [0.9, 0.2, 0.4], [0.3, 0.5, 0.1]

    def scores_of_best(validation, test):
        """Return the test score of the best setting by validation, for all that can be drawn."""
        draws = itertools.combinations(range(len(validation)), trials)
        return [test[max(drawn, key=lambda point: validation[point])] for drawn in draws]

    scores = np.array(scores_of_best(validation, test))
    other_scores = np.array(scores_of_best(other_validation, other_test))
    outcomes = (np.sign(scores[:, None] - other_scores) + 1) / 2  # a tie is half a win
    arrays = [np.array(one) for one in (validation, test, other_validation, other_test)]
    (chance,) = wins(*arrays, np.array([trials]))
    assert chance == pytest.approx(outcomes.mean())


def test_arms_with_the_same_design_have_even_chances_and_no_leader():
    design = design_of(points=40, noise=0.02)
    table = budget_table("s", ("a", design), ("b", design), 10)
    assert list(table["trials"]) == list(range(1, 11))
    np.testing.assert_allclose(table["chance"], 0.5)
    assert set(table["leader"]) == {""}


def test_exchanged_arms_have_opposite_chances():
    one = ("a", design_of(points=40, noise=0.02))
    other = ("b", design_of(points=40, noise=0.02, seed=1))
    forward = budget_table("s", one, other, 10)
    backward = budget_table("s", other, one, 10)
    np.testing.assert_allclose(forward["chance"], 1 - backward["chance"])


def test_an_arm_that_is_easier_to_tune_leads_early_only():
    """One arm is nearly as good anywhere, the other is better at its peak alone."""

    def flat(places):
        return np.full(len(places), 0.93)

    def peaked(places):
        return 0.95 - 2 * (places[:, 0] - 0.5) ** 2

    easy = design_of(flat, points=192, noise=0.004)
    hard = design_of(peaked, points=192, noise=0.004)
    table = budget_table("s", ("easy", easy), ("hard", hard), 32)
    assert table["leader"].iloc[0] == "easy"
    assert table["leader"].iloc[-1] == "hard"
    assert table["chance"].is_monotonic_decreasing


def test_an_arm_whose_runs_are_all_lost_never_wins():
    lost = design_of(points=16)
    for scores in (lost.curves, lost.by_seed, lost.test):
        scores[:] = np.nan
    table = budget_table("s", ("lost", lost), ("b", design_of(points=16)), 4)
    assert set(table["chance"]) == {0.0}
    assert set(table["leader"]) == {"b"}


def test_a_quarter_of_the_points_limits_the_number_of_trials():
    points = 20
    design = design_of(points=points)
    table = budget_table("s", ("a", design), ("b", design), 32)
    assert table["trials"].max() == points / 4


def test_the_band_covers_all_numbers_together():
    """Of normal estimates with correlated errors it covers all in about 95 % of reports."""
    truth, numbers, reports = 0.5, 6, 400
    generator = np.random.default_rng(0)

    def estimates(rows):
        """Return estimates (rows, numbers) whose errors add up from one number to the next."""
        steps = generator.standard_normal((rows, numbers)) / 40
        return truth + steps.cumsum(axis=1)

    resampled = estimates(4000)
    covered = 0
    for estimate in estimates(reports):
        low, high = band(estimate, resampled)
        covered += ((low <= truth) & (truth <= high)).all()
    three_errors = 3 * np.sqrt(0.95 * 0.05 / reports)
    assert covered / reports == pytest.approx(0.95, abs=three_errors)


def test_the_stated_coverage_of_the_band_is_that_of_the_committed_simulation():
    assert json.loads(RESULTS.read_text())["budget"]["covered"] == BUDGET_COVERED
