"""Ticks of searched ranges: round values at their places, with room for their labels."""

import itertools

import pytest

from pipeline.config.scales import Scale
from pipeline.planning.spaces import Space
from pipeline.reporting.plots._ticks import MOST, round_ticks

RANGES: list[tuple[Scale, float, float]] = [
    ("log", 1e-4, 3.0),
    ("log", 3e-5, 1.0),
    ("log", 1e-7, 10.0),
    ("log", 0.02, 0.04),
    ("one_minus_log", 0.0, 0.999),
    ("one_minus_log", 0.8, 0.9),
    ("log_integers", 8, 200),
    ("log_integers", 1, 3),
    ("integers", 2, 9),
    ("uniform", 0.0, 0.9),
    ("uniform", -1.0, 2.5),
]


@pytest.mark.parametrize("letters", [20, 30, 60])
@pytest.mark.parametrize(("scale", "low", "high"), RANGES)
def test_ticks_are_round_and_at_their_places(
    scale: Scale, low: float, high: float, letters: int
) -> None:
    places, labels = round_ticks(scale, low, high, letters)
    space = Space((), scale, low, high)
    assert 2 <= len(places) <= MOST
    assert places == pytest.approx([space.quantile(float(label)) for label in labels])
    assert all(low <= float(label) <= high for label in labels)
    for label in labels:
        value = 1 - float(label) if scale == "one_minus_log" else float(label)
        assert len(f"{abs(value):.10e}".partition("e")[0].replace(".", "").rstrip("0")) <= 2
    pairs = zip(itertools.pairwise(places), itertools.pairwise(labels), strict=True)
    for (left, right), (one, other) in pairs:
        assert letters * (right - left) > (len(one) + len(other)) / 2


@pytest.mark.parametrize(
    ("scale", "low", "high", "letters", "expected"),
    [
        ("log", 0.01, 1.0, 60, "0.01 0.02 0.05 0.1 0.2 0.5 1"),
        ("log", 1e-4, 3.0, 30, "0.0001 0.001 0.01 0.1 1"),
        ("log", 3e-4, 10.0, 20, "0.001 0.1 10"),
        ("one_minus_log", 0.0, 0.999, 20, "0 0.9 0.99 0.999"),
        ("one_minus_log", 0.5, 0.99, 60, "0.5 0.8 0.9 0.95 0.98 0.99"),
        ("log_integers", 8, 200, 20, "10 20 50 100 200"),
        ("integers", 1, 2, 20, "1 2"),
        ("uniform", 0.0, 0.9, 20, "0 0.2 0.4 0.6 0.8"),
    ],
)
def test_ticks_are_as_many_as_have_room(
    scale: Scale, low: float, high: float, letters: int, expected: str
) -> None:
    assert round_ticks(scale, low, high, letters)[1] == expected.split()
