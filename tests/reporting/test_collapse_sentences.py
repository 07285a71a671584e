"""What a report says of lost runs: nothing without any, rates and no verdict where there are."""

import dataclasses
import re

import pandas as pd
import pytest
from report_data import VERDICTS, report_data

from pipeline.comparison.collapses import rate_columns
from pipeline.reporting.collapse_sentences import (
    collapse_sentences,
    rare_note,
    rate_table,
    undone_note,
)
from pipeline.reporting.labels import lost_words, verdict_cell
from pipeline.reporting.pages import all_pages, front

NAN = float("nan")
PLAIN = {"verdict": "helps", "below_margin": False, "withheld": False}
PLAIN |= {"ended": 12, "reference_ended": 11, "both_ended": 10}


def rates(**lost):
    """Return a row per arm with its (collapsed, diverged, runs)."""
    rows = [
        {"label": arm, **rate_columns(*counts), "p_holm": 0.5, "often": ""}
        for arm, counts in lost.items()
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("lost", "undone", "named"),
    [
        ((0, 0), (0.05, 0.05), ()),  # no run of the report was lost
        ((0, 1), (0.05, 0.05), ("a", "b")),
        ((0, 1), (0.27, 0.05), ("b",)),  # none of 12 lost: at most 26 %
        ((0, 1), (0.05, 0.39), ("a",)),  # one of 12 lost by the reference: at most 38 %
    ],
)
def test_verdicts_that_rates_of_lost_runs_may_undo_are_named(lost, undone, named):
    of_arm, of_reference = lost
    table = rates(baseline=(of_reference, 0, 12), a=(of_arm, 0, 12), b=(0, 0, 12))
    table = table.assign(
        study="one",
        arm=table["label"],
        reference=["", "baseline", "baseline"],
        undone=[NAN, *undone],
    )
    verdicts = pd.DataFrame({"label": ["a", "b"], "verdict": ["helps", "hurts"]})
    note = undone_note(table, verdicts)
    assert set(re.findall(r"\*\*(\w+)\*\*", note)) == set(named)
    unclear = verdicts.assign(verdict="inconclusive")
    assert undone_note(table, unclear) == ""


@pytest.mark.parametrize(
    ("row", "cell"),
    [
        ({"lost": 0, "reference_lost": 0}, "helps"),
        ({"lost": 0, "reference_lost": 2}, "helps"),
        ({"lost": 1, "reference_lost": 2}, "helps; 1 of 12 lost"),
        (
            {"lost": 3, "reference_lost": 0, "verdict": "inconclusive", "withheld": True},
            "inconclusive; 3 of 12 lost, reference 0 of 11",
        ),
        (
            {"lost": 0, "reference_lost": 2, "verdict": "inconclusive", "withheld": True},
            "inconclusive; 0 of 12 lost, reference 2 of 11",
        ),
    ],
)
def test_the_cell_of_a_verdict_has_the_losses(row, cell):
    assert verdict_cell(PLAIN | row) == cell


@pytest.mark.parametrize(
    ("lost", "alone", "expected"),
    [
        ((3, 1), (2, 0), [3, 12, 1, 11]),
        ((3, 1), (1, 1), [3, 12, 1, 11]),
        ((1, 1), (1, 0), [1, 12, 1, 11, 10, 1, 0]),  # all runs do not show why
        ((1, 2), (2, 0), [1, 12, 2, 11, 10, 2, 0]),
    ],
)
def test_a_withheld_verdict_names_the_numbers_that_contradict_it(lost, alone, expected):
    row = PLAIN | dict(zip(("lost", "reference_lost"), lost, strict=True))
    row |= dict(zip(("lost_alone", "reference_lost_alone"), alone, strict=True))
    assert [int(number) for number in re.findall(r"\d+", lost_words(row, "part"))] == expected


def test_a_table_of_an_older_report_has_no_losses():
    assert verdict_cell({"verdict": "helps", "below_margin": False}) == "helps"


def test_the_note_on_rare_events_is_about_the_arm_with_the_fewest_runs():
    note = rare_note(rates(baseline=(0, 0, 24), dropout=(0, 0, 6), decay=(0, 0, 0)))
    unseen = 100 * (1 - 0.05 ** (1 / 6))
    assert [int(number) for number in re.findall(r"\d+", note)] == [6, round(unseen), 95]


def test_nothing_is_said_where_nothing_was_lost():
    none = rates(baseline=(0, 0, 12), dropout=(0, 0, 12))
    assert collapse_sentences(none) == []
    assert rate_table(none) == ""


def test_the_arms_that_lost_runs_are_named_with_their_rates(golden):
    some = rates(baseline=(1, 0, 12), dropout=(1, 2, 12), mixup=(0, 0, 12))
    (undecided,) = collapse_sentences(some)
    some.loc[1, ["often", "p_holm"]] = ["more", 0.03]
    (decided,) = collapse_sentences(some)
    golden(undecided, decided)
    cells = [line.split(" | ")[1:4] for line in rate_table(some).splitlines()[2:5]]
    assert cells == [["12", "1", "0"], ["12", "1", "2"], ["12", "0", "0"]]


def test_an_arm_without_a_verdict_because_of_its_losses_is_in_no_other_sentence(golden):
    results = report_data({"layers": dict.fromkeys(VERDICTS, "deterministic")}, VERDICTS)
    table = results.contrasts.copy()
    lost = table["arm"] == "augmentation"
    withheld = {"withheld": True, "lost": 3, "verdict": "inconclusive"}
    is_withheld = lost & (table["metric"] == "test_accuracy")
    table.loc[lost, "ended"] = 12
    for name, value in withheld.items():
        table.loc[is_withheld, name] = value
    counted = results.collapses.copy()
    columns = rate_columns(3, 0, 12)
    for name, value in columns.items():
        counted.loc[counted["arm"] == "augmentation", name] = value
    data = dataclasses.replace(results, contrasts=table, collapses=counted)
    headline = front.headline(data)
    assert headline.count("**augmentation**") == 1
    golden(headline)
    pages = all_pages(data)
    assert "## Collapsed and diverged runs" in pages["pages/verdicts.md"]
    assert "| inconclusive; 3 of 12 lost, reference 0 of 3 |" in pages["report.md"]
    assert "## Collapsed and diverged runs" not in all_pages(results)["pages/verdicts.md"]
