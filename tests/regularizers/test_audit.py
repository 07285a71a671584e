"""Audits: what is too unlikely to have happened by chance."""

import pytest
from scipy import stats

from pipeline.regularizers._audit import NoEffect, require_effect, require_rate, unlikely


def test_nothing_happened():
    require_effect(True, 0.0, "x")
    require_effect(False, 0.5, "x")
    with pytest.raises(NoEffect, match="x"):
        require_effect(False, 1e-7, "x")


@pytest.mark.parametrize(("draws", "chance"), [(10, 0.5), (200, 0.1), (3000, 0.5), (10**6, 0.001)])
def test_unlikely_is_never_less_strict_than_the_binomial_tails(draws, chance):
    """Both tails of all unlikely shares together weigh less than 1e-6, and not far less."""
    spread = range(max(0, int(draws * chance) - 400), min(draws, int(draws * chance) + 4000) + 1)
    called = [happened for happened in spread if unlikely(happened, draws, chance)]
    low, high = (
        [one for one in called if one < draws * chance],
        [one for one in called if one > draws * chance],
    )
    weights = [stats.binom.cdf(max(low), draws, chance)] if low else []
    weights += [stats.binom.sf(min(high) - 1, draws, chance)] if high else []
    assert sum(weights) < 1e-6
    assert sum(weights) > 1e-9 or not called
    assert not unlikely(round(draws * chance), draws, chance)


def test_what_cannot_happen_is_unlikely_and_no_draw_is_not():
    assert unlikely(1, 10, 0.0)
    assert unlikely(9, 10, 1.0)
    assert not unlikely(0, 10, 0.0)
    assert not unlikely(10, 10, 1.0)
    assert not unlikely(0, 0, 0.5)


def test_a_rate_that_was_not_realised():
    require_rate("dropout", "units", 480, 1000, 0.5)
    with pytest.raises(
        NoEffect, match=r"^dropout: 50 of 1000 units were dropped, a share of 0.05; expected 0.5$"
    ):
        require_rate("dropout", "units", 50, 1000, 0.5)
