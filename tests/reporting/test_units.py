"""Units of metrics: what is shown in percent, in points, in nats or as a number."""

import pytest

from pipeline.reporting.markdown import Formatter
from pipeline.reporting.units import METRICS, PRIMARY_METRIC


@pytest.mark.parametrize(
    ("metric", "label", "difference_label", "score", "difference"),
    [
        ("accuracy", "accuracy (%)", "accuracy (points)", "12.3", "+12.3"),
        ("test_accuracy", "test accuracy (%)", "test accuracy (points)", "12.3", "+12.3"),
        ("nll", "NLL (nats)", "NLL (nats)", "0.123", "+0.123"),
        ("nll_scaled", "scaled NLL (nats)", "scaled NLL (nats)", "0.123", "+0.123"),
        ("brier", "Brier score", "Brier score", "0.123", "+0.123"),
        (
            "calibration_error",
            "calibration error (%)",
            "calibration error (points)",
            "12.3",
            "+12.3",
        ),
        ("gap", "gap (points)", "gap (points)", "12.3", "+12.3"),
        ("training_cost", "training cost (x baseline)", "training cost", "0.123", "+0.123"),
    ],
)
def test_a_metric_has_its_units(metric, label, difference_label, score, difference) -> None:
    described, formatter = METRICS[metric], Formatter()
    assert (described.label, described.difference_label) == (label, difference_label)
    assert formatter.score(metric, 0.1234) == score
    assert formatter.difference(metric, 0.1234) == difference
    assert described.scale == (100 if described.fraction else 1)


def test_the_primary_metric_is_test_accuracy_and_higher_is_better() -> None:
    assert PRIMARY_METRIC.label == "test accuracy (%)"
    assert not PRIMARY_METRIC.lower_is_better
