"""Holm's correction."""

from math import nan

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from pipeline.comparison.intervals import interval
from pipeline.comparison.significance import holm


def test_holm_of_the_hand_worked_example():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("m", [1, 2, 12, 40])
def test_holm_is_the_running_maximum_of_p_times_what_is_left(m):
    p = np.random.default_rng(m).beta(0.4, 3, m)
    order = np.argsort(p)
    stepped = [
        min(1, max((m - place) * p[order[place]] for place in range(rank + 1))) for rank in range(m)
    ]
    assert holm(p)[order] == pytest.approx(stepped)


@pytest.mark.parametrize("m", [1, 5, 13])
def test_holm_has_the_numbers_of_statsmodels(m):
    p = np.random.default_rng(m).uniform(size=m) ** 3
    assert (holm(p) == multipletests(p, method="holm")[1]).all()


def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order():
    p = np.random.default_rng(7).uniform(0, 0.3, 12)
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(12 * p, 1) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def test_an_arm_without_a_p_value_stays_in_the_family_and_undefined():
    assert holm(np.array([0.02, nan, 0.03])) == pytest.approx([0.06, nan, 0.06], nan_ok=True)
    assert np.isnan(holm(np.array([nan, nan]))).all()
    assert holm(np.array([])).size == 0


@pytest.mark.usefixtures("little_garbage")
def test_null_reports_rarely_find_anything_and_uncorrected_ones_often_do():
    generator = np.random.default_rng(8)
    p = np.array([_null_report(generator) for _ in range(200)])
    suspects = p[(p < 0.05).any(axis=1)]  # a correction never lowers a p-value
    false_reports = sum((holm(report) < 0.05).any() for report in suspects)
    assert false_reports / 200 <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 200)
    assert len(suspects) / 200 > 0.12


def _null_report(generator, arms=6, seeds=8):
    """Return p-values of arms that all equal the baseline they share."""
    shared, baseline = generator.normal(0, 1, (2, seeds))
    return [
        interval(shared + generator.normal(0, 1, seeds) - (shared + baseline)).p
        for _ in range(arms)
    ]
