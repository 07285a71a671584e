"""How numbers and frames are spelled."""

import math
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.reporting import tables

NAN = math.nan


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (tables.percent(0.9124), "91.2"),
        (tables.percent(1.0), "100.0"),
        (tables.percent(-0.0004), "0.0"),
        (tables.percent(0.99514, 2), "99.51"),
        (tables.points(0.0125), "+1.2"),
        (tables.points(-0.031), "-3.1"),
        (tables.points(-0.0001), "0.0"),
        (tables.points(NAN), tables.VOID),
        (tables.points_interval(0.004, 0.019), "[+0.4, +1.9]"),
        (tables.points_interval(-0.004, 0.0001), "[-0.4, 0.0]"),
        (tables.points_interval(NAN, NAN), ""),
        (tables.percent_interval(0.904, 0.919), "[90.4, 91.9]"),
        (tables.signed_interval(-0.0412, 0.002, 3), "[-0.041, +0.002]"),
        (tables.decimal(-0.0001, 3), "0.000"),
        (tables.ratio(1.0249), "1.02"),
        (tables.amount(0.01), "1 point"),
        (tables.amount(0.005), "0.5 points"),
        (tables.counted(1, "run"), "1 run"),
        (tables.counted(2, "pass", "es"), "2 passes"),
        (tables.measure(0.24987), "0.2499"),
        (tables.measure(12345.6), "12346"),
    ],
)
def test_numbers_are_spelled_for_people(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1e-12, "< 0.001"),
        (0.00099, "< 0.001"),
        (0.001, "0.001"),
        (0.0321, "0.032"),
        (0.04996, "0.0500"),
        (0.0496, "0.0496"),
    ],
)
def test_p_values(value: float, expected: str) -> None:
    assert tables.p_value(value) == expected


@given(st.floats(0, 1))
def test_a_p_value_is_never_zero(value: float) -> None:
    assert tables.p_value(value) not in ("0.000", "0.0000")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (180, "180"),
        (999, "999"),
        (1234, "1.23 k"),
        (1.2345e9, "1.23 G"),
        (12.345e9, "12.3 G"),
        (999.9e6, "1.00 G"),
        (2e15, "2.00 P"),
    ],
)
def test_counts_have_a_prefix_and_three_digits(value: float, expected: str) -> None:
    assert tables.count(value) == expected


@given(st.integers(1, 10**17))
def test_a_count_reads_back_within_its_three_digits(value: int) -> None:
    number, _, prefix = tables.count(value).partition(" ")
    scale = 1000 ** [name.strip() for name in tables.PREFIXES].index(prefix)
    assert float(number) * scale == pytest.approx(value, rel=0.006)


def test_a_table_is_markdown_with_its_caption() -> None:
    frame = pd.DataFrame([{"arm": "dropout", "p": "< 0.001"}, {"arm": "noise", "p": tables.VOID}])
    assert tables.table(frame, "n: 3").splitlines() == [
        "| arm | p |",
        "| --- | ---: |",
        "| dropout | < 0.001 |",
        "| noise | – |",
        "",
        "*n: 3*",
    ]


@given(st.text())
def test_free_text_stays_in_its_cell(words: str) -> None:
    shown = tables.text(words)
    assert len(shown.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(\\\\)*\|", shown)
    assert "<" not in shown


def test_narrow_intervals_get_a_second_decimal() -> None:
    wide = pd.DataFrame({"low": [-0.004, NAN], "high": [0.004, NAN]})
    assert tables.decimals(wide) == 1
    assert tables.decimals(wide / 10) == 2
    assert tables.decimals(wide.iloc[1:]) == 1
