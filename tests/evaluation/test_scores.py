"""Scores of one run: which members are averaged for which row, and which images are correct."""

import numpy as np
import pytest
from scipy import special

from pipeline.config.test_rules import DETERMINISTIC, NOISE, TestRule
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.scores import Score, correct_images, run_scores
from pipeline.records.predictions import Predictions, View

SIZES = {"train": 30, "validation": 20, "test": 25}
LABELS = {split: np.arange(size) % 3 for split, size in SIZES.items()}


def predicted(**members):
    """Return predictions of a run, members by `split_kind`, the deterministic ones among them."""
    generator = np.random.default_rng(7)
    plain = dict.fromkeys((f"{split}_deterministic" for split in SIZES), 1)
    logits = {}
    for name, count in (plain | members).items():
        split, _, kind = name.partition("_")
        logits[View(split, kind)] = generator.normal(size=(count, SIZES[split], 3))
    labels = {split: LABELS[split] for split in ("train", "validation")}
    return Predictions(logits, labels, "digest")


def scored(predictions):
    return run_scores(predictions, LABELS["test"])


def right(logits, split):
    """Return which examples the mean of the members' probabilities has right."""
    return special.softmax(logits, axis=2).mean(axis=0).argmax(axis=1) == LABELS[split]


def test_every_kind_of_member_is_scored_on_its_splits_with_its_count():
    scores = scored(predicted(test_snapshots=3, validation_snapshots=3, test_raw=1))
    places = {(row.view, row.members, row.split) for row in scores if row.metric == "accuracy"}
    assert places == {
        *(("deterministic", 1, split) for split in SIZES),
        *(("snapshots", 3, "validation"), ("snapshots", 3, "test"), ("raw", 1, "test")),
    }
    for place in places:
        rows = [row.metric for row in scores if row[:3] == place]
        assert rows == sorted(METRICS)


def test_noise_passes_are_scored_all_together_and_as_many_as_the_rule_has():
    predictions = predicted(test_noise=20, validation_noise=12)
    values = {row[:4]: row.value for row in scored(predictions)}
    noisy = sorted({key[1:3] for key in values if key[0] == "noise"})
    assert noisy == [(12, "test"), (12, "validation"), (20, "test")]
    passes = predictions.logits[View("test", "noise")]
    for members in (12, 20):
        expected = right(passes[:members], "test").mean()
        assert values["noise", members, "test", "accuracy"] == pytest.approx(expected)
    assert values["noise", 12, "test", "nll"] != values["noise", 20, "test", "nll"]


def test_training_conditions_are_for_the_gap_alone():
    predictions = predicted(train_augmented=8, train_trained=8)
    scores = scored(predictions)
    assert {row.view for row in scores} == {"deterministic"}
    parts = {row.metric: row.value for row in scores if row.split == "train_validation"}
    assert set(parts) == {"gap", "gap_noise", "gap_augmentation", "gap_observed"}
    accuracies = {
        view: (logits.argmax(axis=2) == LABELS[view.split]).mean()
        for view, logits in predictions.logits.items()
    }
    clean = accuracies["train", "deterministic"]
    assert parts["gap"] == pytest.approx(clean - accuracies["validation", "deterministic"])
    assert parts["gap_augmentation"] == pytest.approx(accuracies["train", "augmented"] - clean)
    trained = accuracies["train", "trained"]
    assert parts["gap_noise"] == pytest.approx(trained - accuracies["train", "augmented"])


def test_scores_are_sorted_whatever_the_order_of_the_predictions():
    predictions = predicted(test_noise=20, test_crops=5, validation_crops=5)
    scores = scored(predictions)
    assert scores == sorted(scores)
    assert isinstance(scores[0], Score)
    turned = dict(reversed(predictions.logits.items()))
    assert scored(Predictions(turned, predictions.labels, "digest")) == scores


@pytest.mark.parametrize(
    ("rule", "kind", "members"),
    [
        (DETERMINISTIC, "deterministic", 1),
        (NOISE, "noise", 12),
        (TestRule(view="crops", members=5), "crops", 5),
    ],
)
def test_images_are_correct_under_the_rule(rule, kind, members):
    predictions = predicted(test_noise=20, test_crops=5)
    correct = correct_images(predictions, rule, LABELS["test"])
    expected = right(predictions.logits[View("test", kind)][:members], "test")
    assert correct.tolist() == expected.astype(float).tolist()
    assert 0 < correct.sum() < len(correct)
