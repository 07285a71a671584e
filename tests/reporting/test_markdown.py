"""How numbers and frames are spelled."""

import math
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import decimals
from pipeline.reporting.markdown import Formatter
from pipeline.reporting.units import METRICS

NAN = math.nan


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (Formatter().percent(0.9124), "91.2"),
        (Formatter().percent(1.0), "100.0"),
        (Formatter().percent(-0.0004), "0.0"),
        (Formatter(2).percent(0.99514), "99.51"),
        (Formatter().points(0.0125), "+1.2"),
        (Formatter().points(-0.031), "-3.1"),
        (Formatter().points(-0.0001), "0.0"),
        (Formatter().points(NAN), md.VOID),
        (Formatter().points_interval(0.004, 0.019), "[+0.4, +1.9]"),
        (Formatter().points_interval(-0.004, 0.0001), "[-0.4, 0.0]"),
        (Formatter().points_interval(NAN, NAN), ""),
        (Formatter().percent_interval(0.904, 0.919), "[90.4, 91.9]"),
        (Formatter().bounds("nll", -0.0412, 0.002), "[-0.041, +0.002]"),
        (md.format_number(-0.0001, 3), "0.000"),
        (md.format_ratio(1.0249), "1.02"),
        (md.format_margin(0.01), "1 point"),
        (md.format_margin(0.005), "0.5 points"),
        (md.format_count(1, "run"), "1 run"),
        (md.format_few("abcd"), "a, b, c and d"),
        (md.format_few("abcde"), "a, b, c and 2 more"),
        (md.format_count(2, "pass", "es"), "2 passes"),
        (md.format_measure(0.24987), "0.2499"),
        (md.format_measure(12345.6), "12346"),
    ],
)
def test_numbers_are_spelled_for_people(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("accuracy", 0.0006, 1),
        ("accuracy", -0.0004, 0),
        ("nll", -0.0006, -1),
        ("nll", 0.0004, 0),
        ("nll", NAN, 0),
    ],
)
def test_the_sign_of_a_difference_is_that_of_its_digits(
    metric: str, value: float, expected: int
) -> None:
    assert Formatter().sign(metric, value) == expected


SAME = [{"arm": "a", "n": "12", "rule": "one"}, {"arm": "b", "n": "12", "rule": "two"}]


@pytest.mark.parametrize(
    ("rows", "names", "kept", "sentence"),
    [
        (SAME, ("n", "rule"), [["arm", "rule"]] * 2, "In all rows: n = 12."),
        (SAME, ("rule",), [["arm", "n", "rule"]] * 2, ""),
        (SAME[:1], ("n", "rule"), [["arm", "n", "rule"]], ""),  # a single row keeps all
        (SAME, ("k",), [["arm", "n", "rule"]] * 2, ""),
    ],
)
def test_columns_of_one_value_become_a_sentence(rows, names, kept, sentence) -> None:
    left, shown = md.without_constant(rows, names)
    assert ([list(row) for row in left], shown) == (kept, sentence)


def detectable_row(value: float) -> dict[str, float]:
    return {"detectable": value, "detectable_low": 0.8 * value, "detectable_high": 1.5 * value}


def test_no_difference_of_fractions_beyond_one_can_be_detected() -> None:
    assert Formatter().detectable(detectable_row(0.99)) == "99.0 (79.2 to 148.5)"
    assert Formatter().detectable(detectable_row(1.001)) == "none possible"
    assert Formatter().detectable(detectable_row(1.5), METRICS["nll"]) == "1.500 (1.200 to 2.250)"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1e-12, "<\u00a00.001"),
        (0.00099, "<\u00a00.001"),
        (0.001, "0.001"),
        (0.0321, "0.032"),
        (0.04996, "0.0500"),
        (0.0496, "0.0496"),
    ],
)
def test_p_values(value: float, expected: str) -> None:
    assert md.format_p(value) == expected


def test_folded_text_is_parsed_as_markdown():
    page = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(md.folded("Two rows", "| a |\n| --- |\n| 1 |"))
    )
    assert page.startswith("<details><summary>Two rows</summary>\n<table>")
    assert page.rstrip().endswith("</table>\n</details>")
    assert md.folded("Nothing", "") == ""


@given(st.floats(0, 1))
def test_a_p_value_is_never_zero(value: float) -> None:
    assert md.format_p(value) not in ("0.000", "0.0000")


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
    assert md.format_operations(value) == expected


@given(st.integers(1, 10**17))
def test_a_count_reads_back_within_its_three_digits(value: int) -> None:
    number, _, prefix = md.format_operations(value).partition(" ")
    scale = 1000 ** [name.strip() for name in md.PREFIXES].index(prefix)
    assert float(number) * scale == pytest.approx(value, rel=0.006)


def test_a_table_is_markdown_with_its_caption() -> None:
    rows = [{"arm": "dropout", "p": "< 0.001"}, {"arm": "noise", "p": md.VOID}]
    assert md.format_table(rows, "n: 3", words=("arm",)).splitlines() == [
        "| arm | p |",
        "| --- | ---: |",
        "| dropout | < 0.001 |",
        "| noise | – |",
        "",
        "*n: 3*",
    ]


@given(st.text())
def test_free_text_stays_in_its_cell(words: str) -> None:
    shown = md.escape(words)
    assert len(shown.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(\\\\)*\|", shown)
    assert "<" not in shown


def test_narrow_intervals_get_a_second_decimal() -> None:
    wide = pd.DataFrame({"low": [-0.004, NAN], "high": [0.004, NAN]})
    assert decimals(wide) == 1
    assert decimals(wide / 10) == 2
    assert decimals(wide.iloc[1:]) == 1


@pytest.mark.parametrize(
    ("metric", "shown"),
    [
        ("gap", "+2.0 points [+1.0, +3.0]"),
        ("test_calibration_error", "+2.0 points [+1.0, +3.0]"),
        ("nll_scaled", "+0.020 nats [+0.010, +0.030]"),
    ],
)
def test_a_change_has_the_unit_of_its_metric(metric: str, shown: str) -> None:
    row = {"difference": 0.02, "low": 0.01, "high": 0.03}
    assert Formatter().change(row, metric) == shown
    assert Formatter().change(row | {"low": NAN}, metric) == shown.partition(" [")[0]
