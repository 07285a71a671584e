"""Metrics against scikit-learn and values worked by hand; the parts of the gap."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from pipeline.evaluation.averaging import arithmetic_mean, softmax
from pipeline.evaluation.metrics import (
    METRICS,
    accuracy,
    brier,
    calibration_error,
    calibration_error_width,
    confidence_bins,
    gap_parts,
    member_accuracy,
    nll,
)

HAND = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]])
LABELS = np.array([0, 2, 0, 2])


@pytest.fixture
def predicted():
    generator = np.random.default_rng(3)
    probabilities = softmax(generator.normal(scale=2, size=(300, 4)))
    return probabilities, np.array([generator.choice(4, p=row) for row in probabilities])


def test_hand_worked_values():
    assert accuracy(HAND, LABELS) == 0.75
    assert nll(HAND, LABELS) == pytest.approx(-np.log([0.7, 0.3, 0.5, 0.6]).mean())
    assert brier(HAND, LABELS) == pytest.approx((0.14 + 0.86 + 0.375 + 0.24) / 4)


def test_scikit_learn_agrees(predicted):
    probabilities, labels = predicted
    assert accuracy(probabilities, labels) == accuracy_score(labels, probabilities.argmax(axis=1))
    assert nll(probabilities, labels) == pytest.approx(log_loss(labels, probabilities), rel=1e-12)
    assert brier(probabilities, labels) == pytest.approx(
        brier_score_loss(labels, probabilities), rel=1e-12
    )


def test_calibration_error_agrees_with_scikit_learns_quantile_bins(predicted):
    probabilities, labels = predicted
    hits, confidences = probabilities.argmax(axis=1) == labels, probabilities.max(axis=1)
    observed, stated = calibration_curve(
        hits, confidences, n_bins=15, strategy="quantile"
    )  # 20 examples in each
    assert calibration_error(probabilities, labels) == pytest.approx(
        np.abs(observed - stated).mean(), rel=1e-12
    )
    assert (
        calibration_error(probabilities, labels)
        > calibration_error(probabilities, labels, bins=10) + 0.001
    )


def test_calibration_error_weighs_bins_by_mass():
    confidences = np.array([0.6, 0.7, 0.8, 0.9, 1.0])
    probabilities = np.column_stack([confidences, 1 - confidences])
    labels = np.array([1, 0, 0, 0, 1])  # three bins: (.6 .7) (.8 .9) (1.0)
    expected = (abs(1.3 - 1) + abs(1.7 - 2) + abs(1.0 - 0)) / 5
    assert calibration_error(probabilities, labels, bins=3) == pytest.approx(expected)


def test_calibration_error_of_equal_confidences_does_not_depend_on_the_order():
    probabilities = np.tile([0.75, 0.25], (40, 1))
    labels = np.repeat([0, 1], [30, 10])  # exactly as often right as it says
    shuffled = np.random.default_rng(0).permutation(labels)
    assert calibration_error(probabilities, labels) == pytest.approx(0, abs=1e-15)
    assert calibration_error(probabilities, shuffled) == pytest.approx(0, abs=1e-15)


def test_calibration_error_of_fewer_examples_than_bins():
    # one example a bin; the two at 0.6, one right and one wrong, share an accuracy of 0.5
    assert calibration_error(HAND, LABELS) == pytest.approx((0.3 + 0.1 + 0.5 + 0.1) / 4)


def test_bins_of_equal_width_are_open_below_and_closed_above_but_the_first():
    edges = np.array([0.0, 0.1, 0.2, 0.3, 0.6, 0.7, 1.0])  # in doubles, 0.1 * 3 lies above 0.3
    assert confidence_bins(edges, 10).tolist() == [0, 0, 1, 2, 5, 6, 9]
    assert confidence_bins(np.nextafter(edges[:-1], 2), 10).tolist() == [0, 1, 2, 3, 6, 7]
    assert confidence_bins(np.array([1 + 1e-15]), 10).tolist() == [
        9
    ]  # a mean of members may round above 1
    with pytest.raises(ValueError, match="bins: invalid value 0; expected an integer >= 1"):
        confidence_bins(edges, 0)


def test_calibration_error_by_width_agrees_with_scikit_learns_uniform_bins(predicted):
    probabilities, labels = predicted
    hits, confidences = probabilities.argmax(axis=1) == labels, probabilities.max(axis=1)
    observed, stated = calibration_curve(hits, confidences, n_bins=15, strategy="uniform")
    counts = np.histogram(confidences, bins=15, range=(0, 1))[0]
    expected = (np.abs(observed - stated) * counts[counts > 0]).sum() / 300
    assert calibration_error_width(probabilities, labels) == pytest.approx(expected, rel=1e-12)
    assert abs(expected - calibration_error(probabilities, labels)) > 1e-3


def test_calibration_error_by_width_by_hand():
    confidences = np.array(
        [0.6, 0.75, 0.8, 0.9]
    )  # five bins: (.4 .6] holds .6; (.6 .8] holds .75 and .8; (.8 1] holds .9
    probabilities = np.column_stack([confidences, 1 - confidences])
    expected = (abs(0.6 - 0) + abs(1.55 - 1) + abs(0.9 - 1)) / 4
    assert calibration_error_width(probabilities, np.array([1, 0, 1, 0]), bins=5) == pytest.approx(
        expected
    )
    assert calibration_error_width(probabilities, np.array([1, 0, 1, 0]), bins=1) == pytest.approx(
        (3.05 - 2) / 4
    )


def test_both_calibration_errors_are_among_the_metrics():
    assert METRICS["calibration_error"] is calibration_error
    assert METRICS["calibration_error_width"] is calibration_error_width


def test_every_metric_is_blind_to_the_order_of_examples(predicted):
    probabilities, labels = predicted
    order = np.random.default_rng(4).permutation(300)
    for metric in METRICS.values():
        assert metric(probabilities[order], labels[order]) == pytest.approx(
            metric(probabilities, labels), rel=1e-12
        )


def test_a_perfect_and_a_wholly_wrong_prediction():
    right = np.eye(3)[LABELS]
    wrong = np.eye(3)[(LABELS + 1) % 3]
    assert [metric(right, LABELS) for metric in METRICS.values()] == [1, 0, 0, 0, 0]
    assert (accuracy(wrong, LABELS), brier(wrong, LABELS), calibration_error(wrong, LABELS)) == (
        0,
        2,
        1,
    )
    assert calibration_error_width(wrong, LABELS) == 1
    assert np.isfinite(nll(wrong, LABELS))
    assert nll(wrong, LABELS) > 700


def test_a_network_that_overflowed_has_no_score():
    broken = HAND.copy()
    broken[1] = np.nan
    assert all(np.isnan(metric(broken, LABELS)) for metric in METRICS.values())


def test_member_accuracy_averages_accuracies_not_probabilities():
    sure, unsure = [4.0, 0.0], [0.0, 1.0]
    logits = np.array([[sure], [unsure], [unsure]])
    assert member_accuracy(logits, np.array([0])) == pytest.approx(1 / 3)
    assert accuracy(arithmetic_mean(logits), np.array([0])) == 1


def test_gap_parts_by_hand():
    parts = gap_parts({"deterministic": 1.0, "augmented": 0.9, "trained": 0.75}, validation=0.875)
    expected = {"gap": 0.125, "gap_noise": -0.15, "gap_augmentation": -0.1, "gap_observed": -0.125}
    assert parts == pytest.approx(expected)


@pytest.mark.parametrize(
    ("train", "noise", "augmentation"),
    [
        ({"deterministic": 0.97}, 0.0, 0.0),
        ({"deterministic": 0.97, "augmented": 0.9}, 0.0, 0.9 - 0.97),
        ({"deterministic": 0.97, "trained": 0.9}, 0.9 - 0.97, 0.0),
    ],
)
def test_gap_parts_are_exactly_zero_without_noise_or_augmentation(train, noise, augmentation):
    parts = gap_parts(train, validation=0.83)
    assert (parts["gap_noise"], parts["gap_augmentation"]) == (noise, augmentation)
    assert parts["gap"] == 0.97 - 0.83
    assert parts["gap_observed"] == pytest.approx(parts["gap"] + noise + augmentation, abs=1e-15)
