"""The page of claims: rows side by side, figures of papers, a source once, counted outcomes."""

import re
from types import SimpleNamespace

import pandas as pd
import pytest

from pipeline.comparison.claims import COLUMNS
from pipeline.config.claims import Claim
from pipeline.config.plan import PlannedArm, PlannedStudy
from pipeline.reporting.claim_cells import (
    drawn_claims,
    effect_cell,
    expected_words,
    in_pairs,
    outcome_words,
    sides_cell,
)
from pipeline.reporting.markdown import Formatter
from pipeline.reporting.pages import claims as claims_pages
from pipeline.reporting.pages.claims import claims_body, claims_sentence, registration
from pipeline.reporting.plots.claims import claims as figure_of

NAN = float("nan")
ERROR = {
    **{"claim": "drop_helps", "study": "dropout", "by": "paper", "source": "A | B, 2014"},
    **{"says": "Dropout | helps.", "rule": "directional", "measure": "error", "expect": "lower"},
    **{"alternative": "", "contrast": "dropout against baseline", "than": "", "n": 6},
    **{"before": 0.1, "after": 0.08, "change": -0.2, "difference": -0.02},
    **{"low": -0.03, "high": -0.01, "p": 0.002, "p_holm": 0.004, "p_equivalence": 0.9},
    **{
        "threshold": 0.0,
        "margin": 0.01,
        "detectable": 0.012,
        "detectable_low": 0.01,
        "detectable_high": 0.018,
        "outcome": "supported",
    },
    **{"reason": "", "repeats": False, "published_setting": "MNIST"},
    **{"published_before": 1.6, "published_after": 1.35, "published_change": -0.15625},
}
COST = ERROR | {
    **{"published_before": 75.0, "published_after": 60.0, "published_change": -0.2},
    **{"claim": "cheaper", "rule": "identity", "measure": "training_cost", "before": 1.0},
    **{"after": 0.78, "change": -0.22, "difference": -0.22, "low": -0.22, "high": -0.22},
    **{"p": NAN, "p_holm": NAN, "outcome": "identity", "reason": "it follows from the settings"},
}
OPEN = ERROR | {
    **{"claim": "fewer", "by": "lecture_a", "source": "C, 2015", "outcome": "inconclusive"},
    **{"measure": "updates_to_target", "before": 50.0, "after": 100.0, "difference": 0.6931472},
    **{
        "low": -0.5,
        "high": 1.9,
        "detectable": 1.0986123,
        "detectable_low": 0.9,
        "detectable_high": 1.6,
        "published_setting": "",
    },
}
ELSEWHERE = ERROR | {
    **{"claim": "away", "outcome": "not testable", "reason": "needs the study two", "n": 0},
    **{"before": NAN, "after": NAN, "difference": NAN, "low": NAN, "high": NAN},
}


PRIMARY = pd.DataFrame(
    [
        ("dropout", "dropout", {"dropout": {"rate": 0.5}}),
        ("dropout", "less", {"dropout": {"rate": 0.25}}),
        ("weight_decay", "weight_decay", {"weight_decay": {"strength": 0.01}}),
    ],
    columns=["study", "arm", "setting"],
)


def shown(*rows, contrast=None, openings=()):
    """Return what the page sees of a report, of which one claim has this contrast."""
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    claims = ()
    if contrast:
        given = {"id": "drop_helps", "source": "s", "by": "both", "says": "s", "expect": "lower"}
        claims = (Claim(contrast=contrast, **given),)
    arms = (PlannedArm(name="dropout"), PlannedArm(name="less", against="dropout"))
    study = PlannedStudy(name="dropout", question="?", arms=arms, claims=claims)
    return SimpleNamespace(
        claims=table,
        format=Formatter(),
        primary=PRIMARY,
        openings=openings,
        confirmation=SimpleNamespace(studies=(study,)),
        exploration=SimpleNamespace(claims="0123456789abcdef"),
    )


def cells(page, start):
    """Return the cells of the row that begins with these words."""
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {start}")]
    line = line.replace("\N{NO-BREAK SPACE}", " ")
    return [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")]


def test_a_claim_has_its_sides_interval_corrected_p_and_outcome():
    page = claims_body(shown(ERROR, OPEN))
    assert cells(page, "**drop_helps**") == [
        "**drop_helps** (paper [1]): Dropout / helps.",
        *("supported", "-2.0 [-3.0, -1.0]"),
        *("dropout against baseline", "test error (%), directional", "lower", "10.0 → 8.0"),
        *("6", "0.004", "0.900"),
    ]
    fewer = cells(page, "**fewer**")
    assert fewer[1:3] == ["inconclusive", "x 2.00 [0.61, 6.69]"]
    assert fewer[6:] == ["50 → 100", "6", "0.004", "0.900", "x 3.00 (x 2.46 to x 4.95)"]
    assert page.endswith("1. A \\| B, 2014\n2. C, 2015")


def test_what_is_decided_is_shown_and_what_is_inconclusive_is_folded():
    contradicted = ERROR | {"claim": "other", "outcome": "contradicted"}
    page = claims_body(shown(ERROR, OPEN, contradicted))
    before, folded, after = re.split("</?details>", page)
    assert folded.startswith("<summary>1 inconclusive claim</summary>\n\n| claim |")
    assert "| **fewer**" in folded
    assert "| **drop_helps**" in before
    assert "| **other**" in before
    assert "| **" not in after


def test_without_a_decided_claim_nothing_is_folded():
    page = claims_body(shown(OPEN))
    assert "<details>" not in page
    assert cells(page, "**fewer**")[1] == "inconclusive"


def test_figures_of_papers_are_next_to_measured_ones():
    page = claims_body(shown(ERROR, COST))
    assert cells(page, "drop_helps") == [
        *("drop_helps", "1.60 → 1.35 (-16 %) [1]", "MNIST", "10.0 → 8.0 (-20 %)", "supported")
    ]
    assert cells(page, "cheaper")[1:] == [
        *("75 → 60 (-20 %) [1]", "MNIST", "1.00 → 0.78 (-22 %)", "identity")
    ]


def test_what_follows_from_settings_or_cannot_be_tested_is_listed_apart():
    page = claims_body(shown(ERROR, COST, ELSEWHERE))
    tables, rest = page.split("## Costs that follow from the settings")
    assert "**cheaper**" not in tables
    assert "1.00 → 0.78" in rest
    assert "- **away**: Dropout \\| helps. (needs the study two)" in rest


def test_claims_that_say_the_opposite_are_next_to_each_other():
    other = ERROR | {"claim": "other"}
    first = ERROR | {"alternative": "other"}
    names = [row["claim"] for row in in_pairs([first, OPEN, other])]
    assert names == ["drop_helps", "other", "fewer"]


def test_the_sentence_counts_every_outcome_and_names_what_is_decided(golden):
    contradicted = ERROR | {"claim": "other", "outcome": "contradicted"}
    again = ERROR | {"claim": "again", "repeats": True}
    golden(claims_sentence(shown(ERROR, COST, contradicted, OPEN, ELSEWHERE, again)))
    assert claims_sentence(shown()) == ""


CLOSE = {"p_holm": 0.9, "p_equivalence": 0.01}
FAR = {"p_holm": 0.01, "p_equivalence": 0.9}
HIGHER = {"difference": 0.004, **CLOSE}  # not shown to differ from 0


@pytest.mark.parametrize(
    ("outcome", "expect", "row", "why"),
    [
        ("contradicted", "lower", {"difference": -0.004, **CLOSE}, "within the margin of 1 point"),
        ("contradicted", "higher", HIGHER, "within the margin of 1 point"),
        ("contradicted", "lower", {"difference": 0.004, "p_holm": 0.01}, ""),
        ("contradicted", "higher", {"difference": 0.004, **FAR}, "within the margin of 1 point"),
        ("contradicted", "lower", {"rule": "exact", "p_holm": NAN}, "not at every seed or group"),
        (
            *("supported", "lower", {"rule": "exact", "p_holm": NAN, "n": 5}),
            "at each of 5 seeds or groups; no test",
        ),
        (
            *("contradicted", "equal", FAR),
            "shown to differ from 0, and not shown to be within the margin",
        ),
        (
            *("contradicted", "equal", FAR | {"threshold": -0.005}),
            "shown to differ from -0.5, and not shown to be within the margin",
        ),
        ("contradicted", "not_lower", FAR, ""),
        ("supported", "not_higher", HIGHER, "at most 1 point higher"),
        ("supported", "not_lower", CLOSE, "at most 1 point lower"),
        ("supported", "not_higher", FAR, ""),
        (
            "supported",
            "not_higher",
            HIGHER | {"margin": 0.1, "rule": "correlation"},
            "at most 0.1 h",
        ),
        (
            "supported",
            "not_higher",
            HIGHER | {"margin": 0.02, "measure": "nll"},
            "at most 0.02 nats",
        ),
        ("supported", "lower", FAR, ""),
        ("supported", "lower", {"reason": "below the margin"}, "below the margin"),
        ("supported", "equal", CLOSE, ""),
        ("inconclusive", "lower", CLOSE | {"p_equivalence": 0.2}, ""),
    ],
)
def test_a_row_says_what_decides_it_where_no_sign_does(outcome, expect, row, why):
    words = outcome_words(ERROR | {"outcome": outcome, "expect": expect} | row, Formatter())
    assert words.startswith(f"{outcome}: {why}") if why else words == outcome


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "lower"),
        ({"threshold": -0.02}, "lower by more than -2.0"),
        ({"expect": "not_higher"}, "not higher"),
        ({"expect": "equal"}, "within the margin of 1 point"),
        ({"expect": "equal", "threshold": -0.02, "margin": 0.005}, "within 0.5 points of -2.0"),
        ({"expect": "equal", "rule": "exact", "margin": NAN}, "equal"),
        (
            {"expect": "equal", "measure": "updates_to_target", "margin": 0.0953102},
            "within the margin of x 1.10",
        ),
    ],
)
def test_what_is_expected_has_its_margin(row, words):
    assert expected_words(ERROR | row, Formatter()) == words


@pytest.mark.parametrize(
    ("contrast", "setting"),
    [
        ({"arm": "dropout"}, "rate=0.5"),
        ({"arm": "less"}, "less: dropout, rate=0.25; dropout: rate=0.5"),
        ({"arm": "less", "passes": (0, 12)}, "dropout, rate=0.25"),
        (
            {"arm": "dropout", "against": "weight_decay", "against_study": "weight_decay"},
            "dropout: rate=0.5; weight_decay: strength=0.01",
        ),
        ({"methods": ("one model", "independent")}, None),
        (None, None),
    ],
)
def test_a_row_has_the_chosen_settings_of_its_arms(contrast, setting):
    page = claims_body(shown(ERROR, contrast=contrast))
    row = dict(zip(cells(page, "claim | outcome"), cells(page, "**drop_helps**"), strict=True))
    assert row.get("setting") == setting


@pytest.mark.parametrize(("kinds", "changed"), [("", 0), ("x", 0), ("cx", 1), ("cxc", 2)])
def test_the_ledger_shows_whether_claims_changed(monkeypatch, kinds, changed):
    named = {"c": "claims", "x": "code"}
    monkeypatch.setattr(
        claims_pages, "changes", lambda _, after: [SimpleNamespace(kind=named[after])]
    )
    text = registration(shown(ERROR, openings=("first", *kinds)))
    assert "(../ledger.jsonl)" in text
    assert "`0123456789ab`" in text
    assert re.findall(r"(\d+) times? between", text) == ([str(changed)] if changed else [])
    assert registration(shown(ERROR)) == ""


@pytest.mark.parametrize(
    ("row", "sides", "effect"),
    [
        ({}, "10.0 → 8.0", "-2.0 [-3.0, -1.0]"),
        ({"measure": "nll"}, "0.100 → 0.080", "-0.020 [-0.030, -0.010]"),
        ({"rule": "interaction"}, "+10.0 → +8.0", "-2.0 [-3.0, -1.0]"),
        (
            {"rule": "correlation", "measure": "gap", "before": NAN, "after": NAN},
            *("–", "-0.020 [-0.030, -0.010]"),
        ),
        ({"difference": NAN, "before": NAN}, "–", "–"),
    ],
)
def test_numbers_have_the_unit_of_their_measure(row, sides, effect):
    assert sides_cell(ERROR | row, Formatter()) == sides
    assert effect_cell(ERROR | row, Formatter()) == effect


def test_the_figure_has_a_line_for_every_claim_in_points():
    again = ERROR | {"claim": "again", "repeats": True}
    far = ERROR | {"claim": "far", "difference": 0.9, "low": 0.8, "high": 1.0}
    above = ERROR | {"claim": "above", "threshold": 0.1}
    others = [ERROR | {"claim": f"other_{number}"} for number in range(4)]
    share = ERROR | {"claim": "share", "measure": "importance"}
    table = shown(ERROR, COST, OPEN, ELSEWHERE, again, far, above, share, *others).claims
    rows = drawn_claims(table)
    names = ["drop_helps", "far", *(f"other_{number}" for number in range(4))]
    assert rows["claim"].tolist() == names
    (ax,) = figure_of(rows).axes
    assert [tick.get_text() for tick in ax.get_yticklabels()] == names
    texts = [text.get_text() for text in ax.texts]
    assert texts[1:3] == ["+90.0 [+80.0, +100.0] →", "< 0: supported"]
    assert texts.count("< 0: supported") == 6
    places = [scatter.get_offsets().data.tolist()[0] for scatter in ax.collections]
    assert places == [[-2.0, height] for height in (0, 2, 3, 4, 5)]  # one is beyond the axis
    assert ax.get_xlim()[1] < 50
    long = ERROR | {"claim": "one_regularized_model_replaces_an_ensemble"}
    ax = figure_of(drawn_claims(shown(long).claims)).axes[0]
    (name,) = ax.get_yticklabels()
    assert name.get_text() == long["claim"]
    assert name.get_window_extent().x0 >= 0
    doubtful = [OPEN | {"claim": f"open_{number}", "measure": "gap"} for number in range(70)]
    assert drawn_claims(shown(ERROR, *doubtful).claims)["claim"].tolist() == ["drop_helps"]


@pytest.mark.filterwarnings("error")
def test_the_figure_of_claims_without_a_difference_has_an_axis():
    none = ERROR | {"difference": 0.0, "low": 0.0, "high": 0.0, "outcome": "inconclusive"}
    (ax,) = figure_of(drawn_claims(shown(none).claims)).axes
    low, high = ax.get_xlim()
    assert -2 < low < 0 < high < 2
