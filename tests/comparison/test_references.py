"""Reference classifiers: published figures on digits, splits, label noise and large data."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline.comparison import references as module
from pipeline.comparison.references import COLUMNS, nearest_examples, references, simple_error
from pipeline.config.run import Data
from pipeline.data import sources
from pipeline.data.arrays import Arrays
from pipeline.data.splits import hold_out, train_and_validation

DIGITS = Data(dataset="digits", train_size=150)


def means(table: pd.DataFrame) -> dict[str, float]:
    accuracies: dict[str, float] = (
        table.groupby("classifier")["validation_accuracy"].mean().to_dict()
    )
    return accuracies


def test_digits_have_the_known_accuracies() -> None:
    """Means and standard deviations over other splits are known: three standard errors of five."""
    digits = sources.read("digits", {}).pool
    pool = digits.take(hold_out(digits.labels, 0.4)[0])
    error = 3 / np.sqrt(5)
    table = references(pool, DIGITS, range(1000, 1005))
    assert tuple(table.columns) == COLUMNS
    assert list(table["seed"]) == [seed for seed in range(1000, 1005) for _ in range(3)]
    assert means(table) == {
        "majority class": pytest.approx(0.1, abs=0.01),
        "1-nearest neighbour": pytest.approx(0.934, abs=0.010 * error),
        "logistic regression": pytest.approx(0.918, abs=0.009 * error),
    }


def test_they_are_scored_on_the_splits_of_the_network(pool: Arrays) -> None:
    """The nearest neighbour by brute force, on images that are scaled by training images alone."""
    train, validation = train_and_validation(pool, DIGITS, 1003)
    distances = ((validation.images[:, None] - train.images[None]) ** 2).sum((2, 3, 4))
    predicted = train.labels[distances.argmin(axis=1)]
    scores = references(pool, DIGITS, [1003]).set_index("classifier")["validation_accuracy"]
    assert scores["1-nearest neighbour"] == pytest.approx((predicted == validation.labels).mean())


def test_logistic_regression_is_that_of_the_default_solver(pool: Arrays) -> None:
    train, validation = train_and_validation(pool, DIGITS, 1003)
    mean, deviation = train.images.mean(), train.images.std()
    images, held_out = (
        (part.images.reshape(len(part.labels), -1) - mean) / deviation
        for part in (train, validation)
    )
    expected = LogisticRegression(max_iter=1000).fit(images, train.labels)
    scores = references(pool, DIGITS, [1003]).set_index("classifier")["validation_accuracy"]
    assert scores["logistic regression"] == pytest.approx(
        expected.score(held_out, validation.labels), abs=0.002
    )


def test_training_labels_are_noisy_and_validation_labels_are_not(pool: Arrays) -> None:
    noisy = Data(dataset="digits", train_size=150, label_noise=0.5)
    accuracies = means(references(pool, noisy, range(1000, 1003)))
    assert accuracies["1-nearest neighbour"] == pytest.approx(0.93 * 0.55, abs=0.08)


@pytest.mark.parametrize(
    ("train_size", "side", "seeds"), [(50, 4, 12), (100, 4, 5), (398, 4, 4), (398, 8, 2)]
)
def test_large_training_sets_have_few_seeds(
    train_size: int, side: int, seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits a thousandth of the real ones, for speed."""
    monkeypatch.setattr(module, "LARGE", 1_000)
    monkeypatch.setattr(module, "MOST_WORK", 30_000)
    labels = np.arange(400) % 2
    images = np.zeros((400, 1, side, side), np.uint8)
    images[labels == 1] = 255
    data = Data(dataset="digits", train_size=train_size)
    table = references(Arrays(images, labels, 2), data, range(12))
    assert table["seed"].nunique() == seeds
    assert set(means(table).values()) == {0.5, 1.0}


def test_constant_images_and_labels_of_one_class_have_scores() -> None:
    labels = np.arange(8) % 2
    pool = Arrays(np.ones((8, 1, 2, 2), np.float32), labels, 2)
    data = Data(dataset="digits", train_size=2, label_noise=1.0)
    table = references(pool, data, range(6))
    counts = table["seed"].value_counts()
    assert set(counts) == {2, 3}
    assert set(table["validation_accuracy"]) == {0.5}


def test_the_error_of_a_sample_is_that_of_the_best_classifier() -> None:
    digits = sources.read("digits", {}).pool
    sample = digits.take(hold_out(digits.labels, 0.5)[0])
    assert 0.01 < simple_error(sample) < 0.08
    noise = np.random.default_rng(0).integers(0, 256, (300, 1, 4, 4), np.uint8)
    labels = np.arange(300) % 2
    assert 0.35 < simple_error(Arrays(noise, labels, 2)) < 0.65
    assert simple_error(Arrays(noise[:3], np.array([0, 0, 1]), 2)) == 0.0


@pytest.mark.parametrize(("values", "scored"), [(40, 30), (10_000, 10_000)])
def test_of_large_splits_a_random_part_counts(
    values: int, scored: int, pool: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_VALUES", values * 64)
    monkeypatch.setattr(module, "MOST_SCORED", scored)
    parts = []
    original = module._scores
    monkeypatch.setattr(module, "_scores", lambda *given: parts.append(given) or original(*given))
    tables = [references(pool, DIGITS, [1003]) for _ in range(2)]
    assert tables[0].equals(tables[1])
    whole = train_and_validation(pool, DIGITS, 1003)
    for part, split, most in zip(parts[0], whole, (values, scored), strict=True):
        assert len(part.labels) == min(most, len(split.labels))
        rows = {
            (image.tobytes(), label)
            for image, label in zip(split.images, split.labels, strict=True)
        }
        assert {(i.tobytes(), n) for i, n in zip(part.images, part.labels, strict=True)} <= rows


def test_equally_near_examples_are_told_apart_by_their_order_alone() -> None:
    """Rounding differs between orders of features, as it does between processors."""
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 2, (400, 40))
    distances = (bits[300:, None] != bits[None, :300]).sum(-1)
    ties = (distances == distances.min(1, keepdims=True)).sum(1)
    assert (ties > 1).mean() > 0.3
    for order in (np.arange(40), generator.permutation(40)):
        features = bits[:, order] / 3 - 0.1
        nearest = nearest_examples(features[:300], features[300:])
        assert nearest.tolist() == distances.argmin(1).tolist()
