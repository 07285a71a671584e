"""The page of published effects: figures side by side, a source once, one word for each outcome."""

from types import SimpleNamespace

import pandas as pd
import pytest

from pipeline.comparison.published import COLUMNS
from pipeline.reporting.markdown import Formatter
from pipeline.reporting.pages.published import published_body, published_sentence

NAN = float("nan")
ERROR = {
    **{
        "study": "dropout",
        "arm": "dropout",
        "against_study": "dropout",
        "against": "baseline",
        "measure": "error",
        "sign": "lower",
    },
    **{
        "source": "A | B, 2014",
        "published_setting": "MNIST",
        "published_before": 1.6,
        "published_after": 1.35,
        "published_change": -0.15625,
        "n": 6,
    },
    **{
        "before": 0.1,
        "after": 0.08,
        "change": -0.2,
        "difference": -0.02,
        "low": -0.03,
        "high": -0.01,
        "p": 0.002,
        "outcome": "agrees",
    },
}
COST = ERROR | {
    **{
        "measure": "training_cost",
        "published_before": 75.0,
        "published_after": 60.0,
        "published_change": -0.2,
        "before": 1.0,
        "after": 0.78,
        "change": -0.22,
    },
    **{"difference": -0.22, "low": -0.22, "high": -0.22, "p": NAN},
}
OPEN = ERROR | {
    **{
        "arm": "random",
        "measure": "passes",
        "passes_before": 1,
        "passes_after": 12,
        "published_before": NAN,
        "published_after": NAN,
        "published_change": NAN,
        "source": "C, 2015",
    },
    **{"low": NAN, "high": NAN, "outcome": "inconclusive"},
}


def shown(*rows):
    """Return what the page sees of a report."""
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return SimpleNamespace(published=table, format=Formatter(), pair=lambda *names: names)


def test_figures_stand_side_by_side_with_their_changes():
    page = published_body(shown(ERROR, COST, OPEN))
    assert (
        "| 1.60 → 1.35 (-16 %) [1] | MNIST | 10.0 → 8.0 (-20 %) | -2.0 | [-3.0, -1.0] | 6 | 0.002 "
        "| agrees |" in page
    )
    assert (
        "| 75 → 60 (-20 %) [1] | MNIST | 1.00 → 0.78 (-22 %) | -0.22 | [-0.22, -0.22] | 6 | – "
        "| follows from the settings |" in page
    )
    assert "| random: 1 against 12 noise passes | test error (%) | lower [2] |" in page
    assert page.endswith("1. A \\| B, 2014\n2. C, 2015")


def test_a_cost_is_said_to_be_counted_and_not_timed():
    page = published_body(shown(ERROR, COST))
    (row,) = [line for line in page.splitlines() if "75 → 60" in line]
    assert row.startswith(
        "| dropout against baseline, training FLOPs | training FLOPs, relative to the first |"
    )
    assert row.endswith("| follows from the settings |")
    assert "counted, not timed" in page


def test_the_sentence_counts_and_names_every_outcome(golden):
    disagrees = ERROR | {"against_study": "two", "against": "other", "outcome": "disagrees"}
    golden(published_sentence(shown(ERROR, COST, disagrees, OPEN)))


def test_an_effect_is_told_apart_by_the_study_it_is_against_and_by_its_passes(golden):
    elsewhere = ERROR | {"against_study": "two"}
    more = OPEN | {"passes_after": 20}
    golden(published_sentence(shown(ERROR, elsewhere, OPEN, more, ERROR, OPEN)))


def test_a_report_without_published_effects_says_nothing_of_them():
    assert published_sentence(shown()) == ""


@pytest.mark.parametrize("effect", ["lower", "not_lower"])
def test_what_is_published_without_figures_is_told_by_its_sign(effect):
    words = {"lower": "lower [1]", "not_lower": "no gain [1]"}[effect]
    row = ERROR | {"sign": effect, "published_before": NAN, "published_after": NAN}
    assert f"| {words} |" in published_body(shown(row))
