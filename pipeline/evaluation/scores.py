"""Score one run: every kind of member on every split, and the parts of the gap."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.config.plan import Plan
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
) -> NDArray[np.float64]:
    """Return (examples,): 1 where a run classifies a test image correctly, else 0.

    Args:
        predictions: The logits of the run.
        rule: The test rule of its arm.
        test_labels: (examples,).
    """
    logits = predictions.logits[View("test", rule.view)][: rule.members]
    correct: NDArray[np.float64] = np.nan_to_num(hits(arithmetic_mean(logits), test_labels))
    return correct


def image_rows(
    plan: Plan, correct: Mapping[str, NDArray[np.float64]], test_labels: Labels
) -> Iterator[tuple[str, str, int, int, float, float]]:
    """Yield (study, arm, image, label, share, differs) for every test image of every compared arm.

    Args:
        plan: The confirmation plan.
        correct: (examples,) by run, 1 where the run classifies the image correctly. The share is
            over the arm's runs among these; `differs` is the share of the seeds at which exactly
            one of the arm and its reference is right, NaN where no seed has both.
        test_labels: (examples,).
    """
    runs: dict[tuple[str, str], dict[int, NDArray[np.float64]]] = {}
    for run in plan.runs_of("comparison"):
        if run.fingerprint in correct:
            images = correct[run.fingerprint]
            runs.setdefault((run.study, run.arm), {})[run.seed] = images
    references = {(study, arm.name): (study, arm.against) for study, arm in plan.arms()}
    for arm, by_seed in runs.items():
        shares = np.mean(list(by_seed.values()), axis=0)
        differs = _differing(by_seed, runs.get(references[arm], {}))
        for image, values in enumerate(zip(test_labels, shares, differs, strict=True)):
            label, share, differing = values
            yield (*arm, image, int(label), float(share), float(differing))


def _differing(
    arm: Mapping[int, NDArray[np.float64]], reference: Mapping[int, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the share (examples,) of common seeds at which the two differ, NaN without one."""
    seeds = [seed for seed in arm if seed in reference]
    if not seeds:
        return np.full(len(next(iter(arm.values()))), np.nan)
    different: NDArray[np.float64] = np.mean(
        [arm[seed] != reference[seed] for seed in seeds], axis=0
    )
    return different


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
    """Yield what is averaged: all members; of noise passes also as many as the test rule has."""
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
