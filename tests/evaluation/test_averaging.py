"""Averages of members: what must hold for any logits, and values worked by hand."""

import numpy as np
import pytest
from scipy import special

from pipeline.evaluation.averaging import arithmetic_mean, geometric_mean, softmax

AVERAGES = (arithmetic_mean, geometric_mean)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(scale=4, size=(5, 40, 7)).astype(np.float32)


def test_softmax_agrees_with_scipy_and_sums_to_one(logits):
    assert softmax(logits) == pytest.approx(
        special.softmax(logits.astype(float), axis=-1), rel=1e-13
    )
    assert softmax(logits).sum(axis=-1) == pytest.approx(1, rel=1e-13)
    assert softmax(logits).dtype == np.float64


def test_softmax_of_two_classes_is_logistic():
    logits = np.random.default_rng(0).normal(size=(1, 50, 2))
    expected = special.expit(logits[..., 1] - logits[..., 0])
    assert softmax(logits)[..., 1] == pytest.approx(expected)


def test_softmax_survives_logits_that_overflow_a_naive_exponential():
    assert softmax(np.array([[1e4, 1e4, -1e4]])).tolist() == [[0.5, 0.5, 0.0]]
    assert softmax(np.array([[-1e4, -1e4 + np.log(3)]])) == pytest.approx(np.array([[0.25, 0.75]]))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_network_that_overflowed_is_undefined_for_that_example_alone(broken):
    averaged = arithmetic_mean(np.array([[[0.0, broken], [0.0, 0.0]]]))
    assert np.isnan(averaged[0]).all()
    assert averaged[1].tolist() == [0.5, 0.5]


def test_both_averages_of_a_hand_worked_pair():
    members = np.log(np.array([[[0.8, 0.2]], [[0.5, 0.5]]]))
    assert arithmetic_mean(members) == pytest.approx(np.array([[0.65, 0.35]]))
    roots = np.sqrt(np.array([0.8 * 0.5, 0.2 * 0.5]))
    assert geometric_mean(members) == pytest.approx((roots / roots.sum())[None])


def test_the_averages_differ_so_neither_is_an_average_of_logits_in_disguise(logits):
    assert np.abs(arithmetic_mean(logits) - geometric_mean(logits)).max() > 0.05


@pytest.mark.parametrize("average", AVERAGES)
def test_copies_equal_one(average, logits):
    assert average(np.repeat(logits[:1], 6, axis=0)) == pytest.approx(softmax(logits[0]), rel=1e-12)
    assert average(logits[:1]) == pytest.approx(softmax(logits[0]), rel=1e-15)


@pytest.mark.parametrize("average", AVERAGES)
def test_the_order_of_members_is_nothing_and_a_shift_of_one_members_logits_too(average, logits):
    assert average(logits[[3, 0, 4, 2, 1]]) == pytest.approx(average(logits), rel=1e-12)
    shifts = np.arange(5.0)[:, None, None] * 10
    assert average(logits.astype(float) + shifts) == pytest.approx(average(logits), rel=1e-12)


def test_jensen_the_mean_is_never_worse_than_its_members_on_any_example(logits):
    labels = np.random.default_rng(1).integers(0, 7, 40)
    rows, onehot = np.arange(40), np.eye(7)[labels]
    members, mean = softmax(logits), arithmetic_mean(logits)
    assert (
        -np.log(mean[rows, labels]) <= -np.log(members[:, rows, labels]).mean(axis=0) + 1e-12
    ).all()
    assert (
        ((mean - onehot) ** 2).sum(axis=-1)
        <= ((members - onehot) ** 2).sum(axis=-1).mean(axis=0) + 1e-12
    ).all()


def test_ambiguity_identity_of_the_arithmetic_mean(logits):
    target = np.eye(7)[np.random.default_rng(2).integers(0, 7, 40)]
    members, mean = softmax(logits), arithmetic_mean(logits)
    spread = ((members - mean) ** 2).mean(axis=0)
    assert (mean - target) ** 2 == pytest.approx(
        ((members - target) ** 2).mean(axis=0) - spread, abs=1e-13
    )
