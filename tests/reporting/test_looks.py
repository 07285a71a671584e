"""Looks in a report: how many seeds each arm had, and why it stopped."""

import re
from dataclasses import replace

import pandas as pd
import pytest
from report_data import report_data

from pipeline.comparison.look_table import COLUMNS
from pipeline.config.plan import PlannedLooks, Stop
from pipeline.reporting.latex import latex_table
from pipeline.reporting.pages import method, verdicts
from pipeline.reporting.pages._trust import trust_section
from pipeline.reporting.pages.front import headline, headline_table

STUDIES = {"one": {"dropout": "deterministic", "mixup": "deterministic"}}
VERDICTS = {"dropout": (0.01, "helps"), "mixup": (-0.004, "inconclusive")}
STOPS = {"dropout": (1, "difference"), "mixup": (2, "futile")}
LOOKS = PlannedLooks(
    seeds=(6, 12),
    weights=(0.4, 0.6),
    stops=tuple(
        Stop(study="one", arm=arm, look=look, reason=reason)
        for arm, (look, reason) in STOPS.items()
    ),
)


@pytest.fixture(scope="module")
def plain():
    return report_data(STUDIES, VERDICTS)


@pytest.fixture(scope="module")
def looked(plain):
    rows = []
    for arm, (last, reason) in STOPS.items():
        for look in range(1, last + 1):
            row = dict.fromkeys(COLUMNS, 0.5)
            row |= {"study": "one", "arm": arm, "look": look, "seeds": LOOKS.seeds[look - 1]}
            rows.append(row | {"stopped": reason if look == last else ""})
    plan = plain.confirmation.model_copy(update={"looks": LOOKS})
    contrasts = plain.contrasts.assign(n=plain.contrasts["arm"].map({"dropout": 6, "mixup": 12}))
    return replace(plain, confirmation=plan, contrasts=contrasts, looks=pd.DataFrame(rows))


def cells(text, column):
    """Return a column of the first table with it, by the first column."""
    lines = [line.strip("| \n").split(" | ") for line in text.splitlines() if line[:1] == "|"]
    start = next(number for number, row in enumerate(lines) if column in row)
    place = lines[start].index(column)
    values = {}
    for row in lines[start + 2 :]:
        if len(row) != len(lines[start]):
            break
        values[row[0].partition(":")[0]] = row[place]
    return values


def test_the_front_page_says_how_many_seeds_and_why(plain, looked):
    assert cells(headline_table(looked), "seeds") == {
        "dropout": "6: difference",
        "mixup": "12: futile",
    }
    assert "Limits: 6 to 12 fresh seeds" in headline(looked)
    assert "corrected for 2 looks, at 6 and 12 seeds" in headline(looked)
    assert "look" not in headline(plain)
    assert "seeds |" not in headline_table(plain)


def test_the_page_of_verdicts_has_the_last_look_of_every_arm(plain, looked):
    (page,) = verdicts.pages(looked)
    assert cells(page.body, "look") == {"dropout": "1", "mixup": "2"}
    words = cells(page.body, "stopped")
    assert words["dropout"] == "a difference is predicted"
    assert words["mixup"] == "the last look is unlikely to decide"
    assert "Looks" not in next(iter(verdicts.pages(plain))).body


def test_the_pairs_of_arms_that_help_say_at_which_look_they_are_compared(plain, looked):
    row = {"study": "one", "arm": "dropout", "other_study": "one", "other": "mixup", "n": 6}
    row |= {"difference": 0.01, "low": 0.001, "high": 0.019, "p_holm": 0.03}
    pairs = pd.DataFrame([row])
    with_looks, without = (
        verdicts.pair_table(replace(data, pairs=pairs)).rpartition("|")[2]
        for data in (looked, plain)
    )
    assert "(#looks)" in with_looks
    assert "look" not in without


def test_the_method_names_looks_and_weights(plain, looked):
    (with_looks,), (without,) = method.pages(looked), method.pages(plain)
    (looks,) = [part for part in with_looks.body.split("\n") if "weights of these looks" in part]
    seeds, _, weights = looks.partition("weights of these looks")
    assert re.findall(r"\d+", seeds)[-2:] == ["6", "12"]
    assert re.findall(r"0\.\d+", weights)[:2] == ["0.4", "0.6"]
    assert "Looks" not in without.body


def test_cures_of_checks_keep_the_looks(plain, looked):
    row = {"check": "seeds_sufficient", "study": "one", "arm": "dropout", "subject": ""}
    row |= {"passed": False, "at_bound": False, "value": 6.0, "limit": 8.0}
    trust = pd.DataFrame([row | dict.fromkeys(("low", "high"), float("nan"))])
    fixed, growing = (trust_section(replace(data, trust=trust)) for data in (plain, looked))
    assert "`seeds.confirmation: 8`" in fixed
    assert "`seeds.confirmation: 8`" not in growing
    (look,) = re.findall(r"first look of at least (\d+) seeds", growing)
    assert look == "8"


def test_the_latex_table_says_that_it_is_corrected_for_looks(plain, looked):
    assert "union bound" in latex_table(looked)
    assert "union bound" not in latex_table(plain)
