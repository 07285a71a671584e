"""Score one run: every kind of member on every split, and the parts of the gap."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.config.test_rules import DETERMINISTIC, NOISE, TestRule
from pipeline.evaluation.averaging import arithmetic_mean
from pipeline.evaluation.metrics import METRICS, Labels, gap_parts, hits, member_accuracy
from pipeline.records.predictions import Logits, Predictions, View

GAP_SPLIT = "train_validation"
TRAINING_VIEWS = ("augmented", "trained")  # of the training split, for the gap alone


class Score(NamedTuple):
    """One value of a metric.

    Attributes:
        view: The kind of members that were averaged.
        members: Their number.
        split: The split that was scored.
        metric: The name of the metric.
        value: Its value.
    """

    view: str
    members: int
    split: str
    metric: str
    value: float


def run_scores(predictions: Predictions, test_labels: Labels) -> list[Score]:
    """Return every score of a run and the parts of its gap, sorted.

    Args:
        predictions: The logits of the run, with the labels of train and validation.
        test_labels: (examples,).
    """
    return sorted([*_view_scores(predictions, test_labels), *_gap_scores(predictions)])


def correct_images(
    predictions: Predictions, rule: TestRule, test_labels: Labels
) -> NDArray[np.int8]:
    """Return (examples,): 1 where a run classifies a test image correctly, else 0.

    An example with a probability that is NaN counts as not correct.

    Args:
        predictions: The logits of the run.
        rule: The test rule of its arm.
        test_labels: (examples,).

    Raises:
        KeyError: The predictions have no members of the kind of the rule.
    """
    logits = predictions.logits[View("test", rule.view)][: rule.members]
    correct = np.nan_to_num(hits(arithmetic_mean(logits), test_labels))
    return correct.astype(np.int8)


def _view_scores(predictions: Predictions, test_labels: Labels) -> Iterator[Score]:
    labels = {**predictions.labels, "test": test_labels}
    for view, logits in predictions.logits.items():
        if view.kind in TRAINING_VIEWS:
            continue
        for averaged in _averaged(view.kind, logits):
            probabilities = arithmetic_mean(averaged)
            for metric, score in METRICS.items():
                value = score(probabilities, labels[view.split])
                yield Score(view.kind, len(averaged), view.split, metric, value)


def _averaged(kind: str, logits: Logits) -> Iterator[Logits]:
    """Yield the members to average: all, and of noise passes also the number in the test rule."""
    yield logits
    if kind == NOISE.view and len(logits) != NOISE.members:
        yield logits[: NOISE.members]


def _gap_scores(predictions: Predictions) -> Iterator[Score]:
    def accuracy(view: View) -> float:
        return member_accuracy(predictions.logits[view], predictions.labels[view.split])

    train = {kind: accuracy(View("train", kind)) for kind in predictions.kinds("train")}
    validation = accuracy(View("validation", DETERMINISTIC.view))
    parts: dict[str, Any] = gap_parts(train, validation)
    for metric, value in parts.items():
        yield Score(DETERMINISTIC.view, 1, GAP_SPLIT, metric, value)
