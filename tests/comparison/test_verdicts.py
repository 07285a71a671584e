"""The precedence of verdicts."""

from math import nan

import pytest

from pipeline.comparison.verdicts import conclude


@pytest.mark.parametrize(
    ("difference", "p_holm", "p_equivalence", "expected"),
    [
        (0.02, 0.01, 0.6, ("helps", False)),
        (-0.02, 0.01, 0.6, ("hurts", False)),
        (0.005, 0.01, 0.001, ("helps", True)),
        (-0.005, 0.01, 0.001, ("hurts", True)),
        (0.001, 0.4, 0.01, ("equivalent", False)),
        (0.02, 0.4, 0.2, ("inconclusive", False)),
        (0.02, 0.05, 0.05, ("inconclusive", False)),
        (0.02, nan, nan, ("inconclusive", False)),
        (nan, nan, nan, ("inconclusive", False)),
    ],
)
def test_a_significant_difference_comes_before_equivalence(
    difference, p_holm, p_equivalence, expected
):
    assert conclude(difference, p_holm, p_equivalence) == expected
