"""Gains in words: sentences that follow the signs of the printed digits."""

import pandas as pd

from pipeline.reporting.markdown import Formatter
from pipeline.reporting.pages import _gains

NAN = float("nan")


def gain(
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


def sentences(*gains: _gains.Gain) -> str:
    return "\n".join(
        sentence(gains) or "(nothing)"
        for sentence in (_gains.largest_gains, _gains.certain_gains, _gains.disagreements)
    )


def test_the_best_is_named_by_metric_and_a_loss_is_no_gain(golden) -> None:
    up = gain((0.01, 0.02, 0.03), (0.1, 0.2, 0.3), "up")
    down = gain((-0.03, -0.02, -0.01), (-0.3, -0.2, -0.1), "down")
    golden(*(sentences(*gains) for gains in ((up, down), (down,), (up,))))
    assert _gains.largest_gains([gain((NAN,) * 3, (NAN,) * 3)]) == ""


def test_only_intervals_without_zero_are_called_certain_and_on_their_side(golden) -> None:
    one = gain((0.01, 0.02, 0.03), (0.1, 0.2, 0.3), "one")
    other = gain((-0.01, 0.02, 0.03), (-0.3, -0.2, -0.1), "other")
    golden(sentences(one, other), sentences(gain((-1, 0, 1), (NAN, 0.1, NAN))))


def test_a_loss_is_one_only_where_its_printed_interval_shows_it(golden) -> None:
    bounds = (-0.003, -0.0016, -0.0004), (0.0004, 0.0012, 0.002)
    near = gain(*bounds)  # printed [-0.3, 0.0] and [0.000, +0.002]
    zero = gain((-0.001, 0.0001, 0.001), (-0.001, -0.0001, 0.001))
    golden(*(sentences(gain) for gain in (near, gain(*bounds, decimals=2), zero)))


def test_accuracy_and_nll_disagree_only_where_the_printed_signs_do(golden) -> None:
    assert _gains.disagreements([gain((0, 0.01, 0.02), (-1, -0.1, 0))]) == ""
    assert _gains.disagreements([gain((0, 0.0001, 0.02), (-1, 0.1, 0))]) == ""
    golden(
        *(
            _gains.disagreements([gain((-1, sign * 0.01, 1), (-1, sign * 0.1, 1))])
            for sign in (1, -1)
        )
    )


def test_a_gain_is_read_from_the_rows_of_its_metrics() -> None:
    row = {"pairs": 2, "difference": 0.1, "difference_low": 0.0, "difference_high": 0.2}
    rows = pd.DataFrame([{"metric": "nll", **row, "mean": 0.5}])
    gain = _gains.gain_of("one", rows, Formatter())
    assert gain.change("nll") == "+0.100 nats [0.000, +0.200]"
    assert (gain.value("nll"), gain.value("nll", "pairs")) == (0.5, 2)
    assert gain.change("accuracy").startswith("– points")
