"""Reliability diagrams against scikit-learn and by hand; temperatures that were planted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from pipeline.evaluation.averaging import softmax
from pipeline.evaluation.calibration import fitted_temperature, reliability, tempered
from pipeline.evaluation.metrics import METRICS, accuracy, calibration_error_width, nll

HIGHEST, LOWEST = np.exp(4), np.exp(-4)


def drawn(count=4000, sharpness=1.0, seed=0):
    """Return probabilities softmax(sharpness * z) of logits z, and labels drawn from softmax(z)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=2, size=(count, 5))
    ranks = softmax(logits).cumsum(axis=1) < generator.random((count, 1))
    return softmax(sharpness * logits), np.minimum(ranks.sum(axis=1), 4)


def test_reliability_by_hand():
    confidences = np.array([0.5, 0.6, 0.7, 0.75, 1.0])
    probabilities = np.column_stack([confidences, 1 - confidences])
    diagram = reliability(probabilities, np.array([0, 1, 0, 1, 0]), bins=5)
    assert diagram.low.tolist() == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert diagram.high.tolist() == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert diagram.count.tolist() == [0, 0, 2, 2, 1]
    assert diagram.confidence == pytest.approx([np.nan, np.nan, 0.55, 0.725, 1.0], nan_ok=True)
    assert diagram.accuracy == pytest.approx([np.nan, np.nan, 0.5, 0.5, 1.0], nan_ok=True)


def test_reliability_agrees_with_scikit_learn():
    probabilities, labels = drawn(500)
    diagram = reliability(probabilities, labels)
    hits, confidences = probabilities.argmax(axis=1) == labels, probabilities.max(axis=1)
    observed, stated = calibration_curve(hits, confidences, n_bins=10, strategy="uniform")
    filled = diagram.count > 0
    assert len(diagram.count) == 10
    assert diagram.accuracy[filled] == pytest.approx(observed, rel=1e-12)
    assert diagram.confidence[filled] == pytest.approx(stated, rel=1e-12)
    assert diagram.count.tolist() == np.histogram(confidences, bins=10, range=(0, 1))[0].tolist()
    assert np.isnan(diagram.accuracy[~filled]).all()


@pytest.mark.parametrize("bins", [1, 7, 10, 15])
def test_the_diagram_holds_the_calibration_error_of_its_bins(bins):
    probabilities, labels = drawn(800, sharpness=2)
    diagram = reliability(probabilities, labels, bins)
    distance = np.nan_to_num(np.abs(diagram.confidence - diagram.accuracy))
    assert (diagram.count * distance).sum() / 800 == pytest.approx(
        calibration_error_width(probabilities, labels, bins), rel=1e-12
    )


def test_an_undefined_example_is_in_no_bin_and_spoils_none():
    probabilities, labels = drawn(50)
    broken, seen = probabilities.copy(), np.arange(50) != 7
    broken[7] = np.nan
    diagram, expected = reliability(broken, labels), reliability(probabilities[seen], labels[seen])
    assert diagram.count.sum() == 49
    assert diagram.accuracy == pytest.approx(expected.accuracy, nan_ok=True)
    assert diagram.confidence == pytest.approx(expected.confidence, nan_ok=True)


def test_tempered_by_hand():
    probabilities = np.array([[0.8, 0.2]])
    assert tempered(probabilities, 2.0) == pytest.approx(np.array([[2 / 3, 1 / 3]]))  # roots 2 : 1
    assert tempered(probabilities, 0.5) == pytest.approx(
        np.array([[16 / 17, 1 / 17]])
    )  # squares 16 : 1
    assert tempered(probabilities, 1e9) == pytest.approx(np.array([[0.5, 0.5]]))


def test_a_temperature_divides_the_logits():
    logits = np.random.default_rng(1).normal(scale=5, size=(30, 4))
    assert tempered(softmax(logits), 3.0) == pytest.approx(softmax(logits / 3), rel=1e-12)


def test_a_temperature_of_one_leaves_probabilities_even_zeros():
    probabilities = np.vstack([drawn(100)[0], np.eye(5)])
    assert tempered(probabilities, 1.0) == pytest.approx(probabilities, abs=1e-15)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan])
def test_a_temperature_that_is_not_above_zero_is_an_error(temperature):
    with pytest.raises(
        ValueError, match=f"temperature: invalid value {temperature}; expected a number > 0"
    ):
        tempered(np.array([[0.8, 0.2]]), temperature)


@given(st.floats(-4, 4), st.integers(0, 99))
def test_a_temperature_never_changes_accuracy(log_temperature, seed):
    probabilities, labels = drawn(60, sharpness=3, seed=seed)
    assert accuracy(tempered(probabilities, np.exp(log_temperature)), labels) == accuracy(
        probabilities, labels
    )


def test_an_undefined_example_stays_undefined_alone():
    result = tempered(np.array([[np.nan, np.nan], [0.8, 0.2]]), 2.0)
    assert np.isnan(result[0]).all()
    assert result[1] == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize("planted", [0.5, 1.0, 3.0])
def test_a_planted_temperature_is_found(planted):
    probabilities, labels = drawn(20000, sharpness=planted)
    assert fitted_temperature(probabilities, labels) == pytest.approx(planted, rel=0.04)


def test_a_fitted_temperature_improves_the_calibration_of_unseen_examples():
    temperature = fitted_temperature(*drawn(4000, sharpness=3, seed=1))
    probabilities, labels = drawn(4000, sharpness=3, seed=2)
    assert calibration_error_width(probabilities, labels) > 0.1
    assert calibration_error_width(tempered(probabilities, temperature), labels) < 0.03


def test_no_temperature_of_a_fine_grid_is_better():
    probabilities, labels = drawn(300, sharpness=2, seed=3)
    best = nll(tempered(probabilities, fitted_temperature(probabilities, labels)), labels)
    grid = [
        nll(tempered(probabilities, temperature), labels)
        for temperature in np.exp(np.linspace(-4, 4, 801))
    ]
    assert best <= min(grid) + 1e-9


def test_sharper_probabilities_need_as_much_more_temperature():
    probabilities, labels = drawn(1000, seed=4)
    once, twice = (
        fitted_temperature(probabilities, labels),
        fitted_temperature(tempered(probabilities, 0.5), labels),
    )
    assert twice == pytest.approx(2 * once, rel=1e-4)


@given(st.integers(0, 999), st.integers(1, 30), st.sampled_from([0.0, 0.1, 1.0, 30.0, 1000.0]))
def test_the_nll_of_the_fitting_set_never_rises(seed, count, sharpness):
    generator = np.random.default_rng(seed)
    probabilities, labels = (
        softmax(sharpness * generator.normal(size=(count, 3))),
        generator.integers(0, 3, count),
    )
    temperature = fitted_temperature(probabilities, labels)
    assert LOWEST <= temperature <= HIGHEST
    assert nll(tempered(probabilities, temperature), labels) <= nll(probabilities, labels) * (
        1 + 1e-12
    )


def test_all_correct_sharpens_to_the_bound_and_all_wrong_flattens_to_the_other():
    probabilities = np.tile([0.52, 0.48], (20, 1))
    assert fitted_temperature(probabilities, np.zeros(20, dtype=int)) == pytest.approx(
        LOWEST, rel=1e-3
    )
    assert fitted_temperature(probabilities, np.ones(20, dtype=int)) == pytest.approx(
        HIGHEST, rel=1e-3
    )


def test_a_zero_probability_of_the_label_asks_for_a_finite_temperature_above_one():
    probabilities, labels = (
        np.vstack([np.tile([0.9, 0.1], (50, 1)), [[1.0, 0.0]]]),
        np.array([*[0] * 50, 1]),
    )
    temperature = fitted_temperature(probabilities, labels)
    assert 1 < temperature < HIGHEST
    assert nll(tempered(probabilities, temperature), labels) < nll(probabilities, labels)


@pytest.mark.parametrize(
    "probabilities", [np.eye(2), np.full((2, 2), 0.5), np.full((2, 2), np.nan)]
)
def test_where_no_temperature_is_better_it_is_one(probabilities):
    assert fitted_temperature(probabilities, np.array([0, 1])) == 1.0


def test_a_tempered_prediction_has_every_metric():
    probabilities, labels = drawn(100)
    assert all(
        np.isfinite(metric(tempered(probabilities, 2.0), labels)) for metric in METRICS.values()
    )
