"""Gains in words: sentences that follow the signs of the printed digits."""

import pandas as pd

from pipeline.reporting.markdown import Formatter
from pipeline.reporting.pages import _gains

NAN = float("nan")


def found(
    accuracy: tuple[float, float, float],
    nll: tuple[float, float, float],
    name: str = "one",
    decimals: int = 1,
) -> _gains.Gain:
    """Return a gain from (low, mean, high) of both metrics."""
    by = {
        metric: {"difference": mean, "difference_low": low, "difference_high": high}
        for metric, (low, mean, high) in zip(("accuracy", "nll"), (accuracy, nll), strict=True)
    }
    return _gains.Gain(name, by, Formatter(decimals))


def test_the_best_is_named_by_metric_and_a_loss_is_no_gain() -> None:
    up = found((0.01, 0.02, 0.03), (0.1, 0.2, 0.3), "up")
    down = found((-0.03, -0.02, -0.01), (-0.3, -0.2, -0.1), "down")
    said = _gains.largest_gains([up, down])
    assert said == (
        "accuracy rises most for **up** (+2.0 points [+1.0, +3.0]); NLL falls most for **down** (-0.200 nats [-0.300, -0.100])."
    )
    assert _gains.largest_gains([down]).startswith(
        "accuracy rises for none; **down** (-2.0 points [-3.0, -1.0]) loses least;"
    )
    assert "NLL falls for none; **up** (+0.200 nats" in _gains.largest_gains([up])
    assert _gains.largest_gains([found((NAN,) * 3, (NAN,) * 3)]) == ""


def test_only_intervals_without_zero_are_called_certain_and_on_their_side() -> None:
    one, other = (
        found((0.01, 0.02, 0.03), (0.1, 0.2, 0.3), "one"),
        found((-0.01, 0.02, 0.03), (-0.3, -0.2, -0.1), "other"),
    )
    assert _gains.certain_gains([one, other]) == (
        "The interval of accuracy excludes 0: a gain for **one**. "
        "The interval of NLL excludes 0: a gain for **other**; a loss for **one**."
    )
    assert (
        _gains.certain_gains([found((-1, 0, 1), (NAN, 0.1, NAN))])
        == "No interval of accuracy excludes 0. No interval of NLL excludes 0."
    )


def test_a_loss_is_one_only_where_its_printed_interval_shows_it() -> None:
    bounds = (-0.003, -0.0016, -0.0004), (0.0004, 0.0012, 0.002)
    near = found(*bounds)  # printed [-0.3, 0.0] and [0.000, +0.002]
    finer = found(*bounds, decimals=2)
    assert (
        _gains.certain_gains([near])
        == "No interval of accuracy excludes 0. No interval of NLL excludes 0."
    )
    assert "accuracy excludes 0: a loss for **one**" in _gains.certain_gains([finer])
    assert _gains.largest_gains([near]) == (
        "accuracy rises for none; **one** (-0.2 points [-0.3, 0.0]) comes nearest; "
        "NLL falls for none; **one** (+0.001 nats [0.000, +0.002]) comes nearest."
    )
    zero = found((-0.001, 0.0001, 0.001), (-0.001, -0.0001, 0.001))
    assert _gains.largest_gains([zero]).startswith(
        "accuracy rises for none; **one** (0.0 points [-0.1, +0.1]) comes nearest; NLL falls"
    )


def test_accuracy_and_nll_disagree_only_where_the_printed_signs_do() -> None:
    none = "Accuracy and NLL disagree in sign for none."
    assert _gains.disagreements([found((0, 0.01, 0.02), (-1, -0.1, 0))]) == none
    assert _gains.disagreements([found((0, 0.0001, 0.02), (-1, 0.1, 0))]) == none
    for sign in (1, -1):
        said = _gains.disagreements([found((-1, sign * 0.01, 1), (-1, sign * 0.1, 1))])
        assert said.startswith(
            f"Accuracy and NLL disagree in sign for **one** (accuracy {sign * 1.0:+.1f} points"
        )


def test_a_gain_is_read_from_the_rows_of_its_metrics() -> None:
    row = {"pairs": 2, "difference": 0.1, "difference_low": 0.0, "difference_high": 0.2}
    rows = pd.DataFrame([{"metric": "nll", **row, "mean": 0.5}])
    gain = _gains.gain_of("one", rows, Formatter())
    assert gain.change("nll") == "+0.100 nats [0.000, +0.200]"
    assert (gain.value("nll"), gain.value("nll", "pairs")) == (0.5, 2)
    assert gain.change("accuracy").startswith("– points")
