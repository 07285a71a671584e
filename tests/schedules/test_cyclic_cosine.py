"""The cyclic schedule against the formulas of Huang et al. (2017)."""

import math

import pytest

from pipeline.schedules._cycles import ends
from pipeline.schedules._schedule import Course
from pipeline.schedules.cyclic_cosine import CyclicCosine


def multiplier(update, updates, cycles):
    return CyclicCosine().multiplier(update, Course(updates, 1, cycles))


@pytest.mark.parametrize(("updates", "cycles"), [(200, 5), (180, 4), (40, 1)])
def test_the_paper_s_formula_where_the_length_divides(updates, cycles):
    """alpha(t) = alpha_0 / 2 (cos(pi mod(t - 1, ceil(T / M)) / ceil(T / M)) + 1), t from 1."""
    length = math.ceil(updates / cycles)
    for update in range(1, updates + 1):
        expected = (math.cos(math.pi * ((update - 1) % length) / length) + 1) / 2
        assert multiplier(update - 1, updates, cycles) == pytest.approx(expected, abs=1e-12)


def test_closed_forms_of_a_cycle():
    rates = [multiplier(update, 200, 5) for update in range(200)]
    assert rates[::40] == [1.0] * 5
    assert 0.2 * rates[39] == pytest.approx(3.08e-4, rel=1e-2)  # (alpha_0 / 2) (1 - cos(pi / 40))
    assert rates[20] == pytest.approx(0.5)
    assert sum(rates[:40]) / 40 == pytest.approx((1 + 1 / 40) / 2)


def test_no_cycle_is_cut_short_where_the_length_does_not_divide():
    """T = 100, M = 6: cycles of ceil(T / M) leave the last one nine times too hot."""
    cut = ends(100, 6)
    assert cut[-1] == 100
    assert {after - before for before, after in zip([0, *cut], cut, strict=False)} == {16, 17}
    coldest = [multiplier(end - 1, 100, 6) for end in cut]
    assert max(coldest) / min(coldest) < 1.2
    assert all(multiplier(start, 100, 6) == 1.0 for start in [0, *cut[:-1]])
