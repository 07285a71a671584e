"""Search spaces: their values, designs, widening, and bad input."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from pipeline.planning.searches import Search, design
from pipeline.planning.spaces import grid, read_space, size
from pipeline.runtime.errors import Refusal

RATE = {"uniform": [0.05, 0.65], "points": 5}
LOG = {"log": [0.001, 0.1], "points": 5}


def space(written, listed=False):
    return read_space(written, "file: key", listed)


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ([0.1, 0.5], (0.1, 0.5)),
        (["reflect", "zeros"], ("reflect", "zeros")),
        (RATE, (0.05, 0.2, 0.35, 0.5, 0.65)),
        (LOG, (0.001, 0.00316, 0.01, 0.0316, 0.1)),
        ({"one_minus_log": [0.9, 0.999], "points": 3}, (0.9, 0.99, 0.999)),
        ({"integers": [1, 4]}, (1, 2, 3, 4)),
        ({"integers": [1, 9], "points": 3}, (1, 5, 9)),
        ({"log_integers": [8, 128], "points": 5}, (8, 16, 32, 64, 128)),
        ({"log_integers": [1, 30], "points": 4}, (1, 3, 10, 30)),
        ({"log_integers": [1, 1000]}, ()),
        ({"log": [0.1, 1]}, ()),  # a design fills it
    ],
)
def test_the_values_of_a_space(written, values):
    assert space(written).values == values


@pytest.mark.parametrize("written", [0.1, "reflect", True, None, {"k": 1}])
def test_a_single_value_is_no_space(written):
    assert space(written) is None


def test_of_a_key_whose_value_is_a_list_only_a_list_of_lists_is_a_space():
    assert space([8, 16], listed=True) is None
    assert space([[8, 16], [16, 32]], listed=True).values == ([8, 16], [16, 32])
    assert space([8, 16]).values == (8, 16)


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ([], "file: key: invalid value []; expected a list of length >= 1"),
        (
            {"log": [0.1, 0.001], "points": 3},
            "file: key.log: invalid value [0.1, 0.001]; expected [low, high] with low < high",
        ),
        ({"log": [0, 1], "points": 3}, "file: key.log: invalid value [0, 1]; expected numbers > 0"),
        (
            {"one_minus_log": [0.5, 1], "points": 3},
            "file: key.one_minus_log: invalid value [0.5, 1]; expected numbers >= 0 and < 1",
        ),
        (
            {"integers": [0.5, 3]},
            "file: key.integers: invalid value [0.5, 3]; expected two integers",
        ),
        (
            {"log_integers": [0, 8], "points": 3},
            "file: key.log_integers: invalid value [0, 8]; expected two integers >= 1",
        ),
        (
            {"log_integers": [1, 4], "points": 5},
            "file: key.points: invalid value 5; "
            "expected an integer <= 4, the number of different values",
        ),
        (
            {"uniform": [0, 1], "points": 1_000_000},
            "file: key.points: invalid value 1000000; expected an integer >= 2 and <= 100",
        ),
        (
            {"integers": [1, 3], "points": 5},
            "file: key.points: invalid value 5; "
            "expected an integer <= 3, the number of different values",
        ),
        (
            {"uniform": "wide", "points": 3},
            'file: key.uniform: invalid value "wide"; expected [low, high], two numbers',
        ),
        (
            {"uniform": [0, 1], "log": [1, 2], "points": 3},
            'file: key: invalid value {"uniform": [0, 1], "log": [1, 2], "points": 3}; '
            "expected one scale of uniform, log, one_minus_log, "
            "integers, log_integers",
        ),
        (
            {"uniform": [0, 1], "point": 3},
            "file: key.point: unknown key; expected one of: uniform, log, one_minus_log, integers, "
            "log_integers, points, extend; did you mean 'points'?",
        ),
        (
            {"uniform": [0, 1], "points": 3, "extend": -1},
            "file: key.extend: invalid value -1; expected an integer >= 0 and <= 10",
        ),
    ],
)
def test_a_bad_space_is_one_line(written, line):
    with pytest.raises(Refusal) as refused:
        space(written)
    assert refused.value.lines == (line,)


@given(
    low=st.floats(0.05, 0.4),
    factor=st.floats(1.5, 2),
    points=st.integers(3, 9),
    scale=st.sampled_from(["uniform", "log", "one_minus_log"]),
    ends=st.lists(st.sampled_from([-1, 1]), max_size=3),
)
def test_a_widened_space_contains_the_former_one(low, factor, points, scale, ends):
    """And its values stay in order, one step of the scale apart."""
    before = space({scale: [low, low * factor], "points": points})
    for end in ends:
        value = before.beyond(end)
        if value is None:
            continue
        after = before.with_value(value)
        assert set(before.values) < set(after.values)
        assert list(after.values) == sorted(after.values)
        assert after.values[0 if end < 0 else -1] == value
        assert (after.extend, after.widened) == (before.extend - 1, before.widened + 1)
        before = after


def test_a_space_is_widened_by_its_own_step():
    assert space(LOG).beyond(1) == 0.316
    assert space(LOG).beyond(-1) == 0.000316
    assert space(LOG).with_value(0.000316).beyond(-1) == 0.0001  # no rounding piles up
    assert space(RATE).beyond(1) == 0.8
    assert space({"integers": [1, 9], "points": 3}).beyond(1) == 13
    widths = space({"log_integers": [2, 32], "points": 5})
    assert [widths.beyond(end) for end in (-1, 1)] == [1, 64]
    assert widths.with_value(1).beyond(-1) is None
    assert space({"one_minus_log": [0.0, 0.9], "points": 2}).beyond(-1) is None
    assert space([0.1, 0.5]).beyond(1) is None


def test_a_step_may_be_halved_and_leads_on_from_a_halved_one():
    space = read_space({"log": [0.01, 0.16], "points": 5}, "x")
    assert [space.beyond(1, halvings) for halvings in range(3)] == [0.32, 0.226, 0.19]
    halved = space.with_value(0.226)
    assert halved.beyond(1) == 0.452
    assert space.with_value(0.32).beyond(1) == 0.64


def test_points_of_a_narrow_range_are_told_apart_and_inside():
    values = read_space({"uniform": [0.1234, 0.1236], "points": 5}, "x").values
    assert values == (0.1234, 0.12345, 0.1235, 0.12355, 0.1236)


def test_a_grid_has_every_combination():
    spaces = [space([1, 2]), space(RATE)]
    assert grid(spaces) == list(itertools.product((1, 2), (0.05, 0.2, 0.35, 0.5, 0.65)))
    assert size(spaces) == 10
    assert size(spaces, widened=True) == 2 * 7


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_another_hyperparameter_moves_no_value(method):
    search = Search(method=method, trials=16)
    first = {"a.rate": space({"uniform": [0, 1]}), "c.rate": space({"log": [0.001, 1]})}
    alone = design(first, search)
    for name in ("0.first", "b.middle", "z.last"):
        names = [*first, name]
        both = {key: first.get(key, space({"log": [1, 2]})) for key in sorted(names)}
        columns = dict(zip(both, zip(*design(both, search), strict=True), strict=True))
        assert list(zip(columns["a.rate"], columns["c.rate"], strict=True)) == alone


def test_sobol_points_fill_every_stratum_and_the_square_better_than_random_ones():
    names = [f"part.key_{number}" for number in range(6)]
    spaces = {name: space({"uniform": [0, 1]}) for name in names}
    points = np.array(design(spaces, Search(method="sobol", trials=64)))
    for column in points.T:
        assert sorted((column * 64).astype(int)) == list(range(64))
    random = np.array(design(spaces, Search(method="random", trials=64)))
    assert qmc.discrepancy(points) < qmc.discrepancy(random)


def test_a_design_covers_lists_and_integers_evenly():
    spaces = {"a.kind": space(["x", "y"]), "a.number": space({"integers": [1, 40]})}
    kinds, numbers = zip(*design(spaces, Search(method="sobol", trials=16)), strict=True)
    assert sorted(kinds) == ["x"] * 8 + ["y"] * 8
    assert [(number - 1) // 10 for number in sorted(numbers)] == [0] * 4 + [1] * 4 + [2] * 4 + [
        3
    ] * 4


@pytest.mark.parametrize("method", ["random", "sobol"])
@pytest.mark.parametrize(
    ("number", "most"), [({"integers": [1, 20]}, 20), ({"log_integers": [1, 20]}, 20)]
)
def test_a_design_has_as_many_different_settings_as_asked_or_as_there_are(method, number, most):
    """Points that fall on the same setting of a short axis are replaced by further ones."""
    spaces = {"a.number": space(number)}
    for trials in (8, 16):
        settings = design(spaces, Search(method=method, trials=trials))
        assert len(set(settings)) == trials
        assert set(settings) <= {(value,) for value in range(1, most + 1)}
    whole = design(spaces, Search(method=method, trials=64))
    assert sorted(whole) == [(value,) for value in range(1, most + 1)]


def test_a_design_on_a_log_scale_of_integers_has_equal_shares_of_each_doubling():
    points = design(
        {"a.width": space({"log_integers": [8, 2047]})}, Search(method="sobol", trials=64)
    )
    doublings = [width.bit_length() for (width,) in points]
    assert all(6 <= doublings.count(bits) <= 10 for bits in range(4, 12))


def test_the_ends_of_a_range_of_integers_have_the_share_of_the_others():
    space = read_space({"integers": [1, 4]}, "x")
    drawn = [space.at((number + 0.5) / 400) for number in range(400)]
    assert [drawn.count(value) for value in (1, 2, 3, 4)] == [100] * 4


def test_the_quantile_of_a_listed_value_is_the_middle_of_its_share():
    listed = space(["a", "b", "c", "d"])
    assert [listed.quantile(value) for value in "abcd"] == [0.125, 0.375, 0.625, 0.875]
