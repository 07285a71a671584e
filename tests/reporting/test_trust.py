"""What the front page says of trust checks, and how failed ones limit the answer."""

import dataclasses
import re
from typing import Any

import pandas as pd
import pytest
from report_data import NAN, VERDICTS, report_data

from pipeline.comparison.levels import MAJORITY
from pipeline.comparison.trust import COLUMNS, Check
from pipeline.reporting.dvc import metrics
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.pages import all_pages, checks, front
from pipeline.reporting.pages._trust import LINES, NAMES, trust_section
from pipeline.reporting.verdict_sentences import NOT_ABOVE_MAJORITY

ARMS = tuple(VERDICTS)
LONGER = "early"  # the arm that trains the baseline for twice as many epochs
PASSED = {  # check -> values of its rows by subject or arm
    Check.TUNED: {"value": 5, "subject": "training.learning_rate=0.05"},
    Check.INTERIOR: {"value": 0, "subject": "rate=0.5"},
    Check.GAIN: {"value": 0.004, "low": -0.001, "high": 0.009, "limit": 0.0},
    Check.LONGER: {"value": 0.003, "low": -0.002, "high": 0.008, "limit": 0.01, "subject": LONGER},
    Check.BUDGET: {"value": 0.002, "low": -0.001, "high": 0.005, "limit": 0.01},
    Check.REFERENCES: {"value": 0.03, "low": 0.02, "high": 0.04, "limit": 0.0},
    Check.IMAGES: {"value": 0.02, "low": 0.01, "high": 0.03, "subject": "helps"},
    Check.SEEDS: {"value": 12, "limit": 8},
    Check.TRIALS: {"value": 5, "limit": 5, "subject": "baseline"},
    Check.MACHINE: {"value": 21, "subject": "threads=1, device=cpu"},
}
FAILED = {
    Check.TUNED: {"value": 5},
    Check.INTERIOR: {"value": 2},
    Check.GAIN: {"value": -0.004, "low": -0.009, "high": 0.001},
    Check.LONGER: {"value": 0.03, "low": 0.02, "high": 0.04},
    Check.BUDGET: {"value": 0.02, "low": 0.015, "high": 0.025},
    Check.REFERENCES: {"value": -0.04, "low": -0.05, "high": -0.03},
    Check.IMAGES: {"low": -0.001, "high": 0.041},
    Check.SEEDS: {"value": 3},
    Check.TRIALS: {"value": 3},
    Check.MACHINE: {"value": 2, "subject": "threads=2, device=cpu"},
}
BEYOND = "better values may lie beyond those tried"
TRIED = f"3 fresh seeds; 2 epochs; {BEYOND}"
CHANGED = "5 verdicts change if test examples are a source of error too"
FEW = " (5 arms still improving at the end)"
WITH_BASELINE = " (6 arms still improving at the end)"
SUBJECTS = ("majority class", "1-nearest neighbour", "logistic regression")


def limits_of(answer: str) -> str:
    """Return the limits that an answer names."""
    (limits,) = re.findall(r"Limits: ([^.]*)\.", answer)
    return str(limits)


def rows(check: Check, failed: bool, **changed: Any) -> list[dict[str, Any]]:
    """Return the rows of a check: all passed, or all but the last failed."""
    row = {
        **{"check": str(check), "study": "layers", "subject": "", "at_bound": False},
        **dict.fromkeys(("value", "low", "high", "limit"), NAN),
        **PASSED[check],
    }
    bad = {"passed": False, **(FAILED[check] if failed else {})} if failed else {}
    if check in (Check.TUNED, Check.LONGER):
        checks = [row | {"arm": "baseline", "passed": True} | bad]
    elif check is Check.REFERENCES:
        checks = [
            row | {"arm": "baseline", "passed": True, "subject": name} | (bad if place else {})
            for place, name in enumerate(SUBJECTS)
        ]
    elif check is Check.MACHINE:
        first = row | {"study": "", "arm": "", "passed": True}
        checks = [first, first | bad] if failed else [first]
    else:
        checks = [row | {"arm": arm, "passed": True} | bad for arm in ARMS[:5]]
        checks.append(row | {"arm": ARMS[5], "passed": True})
    return [one | changed for one in checks]


def with_checks(data: ReportData, *checks: list[dict[str, Any]]) -> ReportData:
    table = pd.DataFrame([row for part in checks for row in part], columns=list(COLUMNS))
    return dataclasses.replace(data, trust=table)


def overriding(data: ReportData, keys: list[str]) -> ReportData:
    """Return the data of a run in which params.yaml gives these values of the protocol."""
    plan = data.confirmation.model_copy(update={"overridden": tuple(keys)})
    return dataclasses.replace(data, confirmation=plan)


@pytest.fixture
def data() -> ReportData:
    results = report_data({"layers": dict.fromkeys(ARMS, "deterministic")}, VERDICTS)
    contrasts = results.contrasts.copy()
    epochs = {"protocol": {"training.epochs": 4}}
    contrasts["setting"] = [
        epochs if arm == LONGER else setting
        for arm, setting in zip(contrasts["arm"], contrasts["setting"], strict=True)
    ]
    return dataclasses.replace(results, contrasts=contrasts)


def test_the_wording_of_every_check(data: ReportData, golden) -> None:
    """Passed, failed, and the variants of some."""
    bound = rows(Check.INTERIOR, False)
    bound[1]["at_bound"] = True
    more = rows(Check.TRIALS, True)
    more[1] |= {"value": 9}
    more[2] |= {"value": 9, "subject": "dropout"}
    fewer = rows(Check.TRIALS, False)
    fewer[1] |= {"value": 3}
    wide = [*rows(Check.INTERIOR, False), *rows(Check.GAIN, True)]
    variants = [
        rows(Check.TUNED, True, subject="", value=0),
        rows(Check.BUDGET, True, value=NAN)[:2],
        bound,
        more,
        fewer,
        wide,
        rows(Check.TUNED, False, at_bound=True),
        rows(Check.GAIN, True)[4:],
        [*rows(Check.LONGER, False), *rows(Check.BUDGET, True, subject="baseline")],
        [*rows(Check.LONGER, False), *rows(Check.BUDGET, False, subject="baseline")],
    ]
    untuned = {1: rows(Check.TUNED, True, subject="", value=1), 0: variants[0]}
    given = [
        (["training.learning_rate"], untuned[0]),
        (["training.epochs", "tune"], untuned[0]),
        ([], untuned[1]),
        (["tune"], untuned[1]),
        (["tune"], rows(Check.TUNED, True)),
    ]
    golden(
        trust_section(with_checks(data, *(rows(check, False) for check in Check))),
        trust_section(with_checks(data, *(rows(check, True) for check in Check))),
        *(trust_section(with_checks(data, variant)) for variant in variants),
        *(trust_section(with_checks(overriding(data, keys), checks)) for keys, checks in given),
    )


@pytest.mark.parametrize("check", Check)
def test_a_failed_check_is_shown_and_those_that_passed_are_folded(
    data: ReportData, check: Check
) -> None:
    checks = [rows(other, other is check) for other in Check]
    text = trust_section(with_checks(data, *checks))
    shown, folded = text.split(f"<details><summary>{len(LINES) - 1} checks passed</summary>")
    assert re.findall("^- .*?:", shown, flags=re.M) == [f"- **Failed** ({NAMES[check]}):"]
    passed = {f"- Passed ({NAMES[other]}):" for other in Check if other is not check}
    assert set(re.findall("^- .*?:", folded, flags=re.M)) == passed
    assert "nan" not in text


def test_the_page_of_checks_explains_every_check_by_its_name(data: ReportData) -> None:
    (page,) = checks.pages(data)
    named = re.findall(r"^- \*\*(.*?)\*\*:", page.body, flags=re.M)
    assert sorted(name.lower() for name in named) == sorted(NAMES.values())


def test_a_check_that_does_not_apply_has_no_line(data: ReportData) -> None:
    text = trust_section(with_checks(data, rows(Check.SEEDS, False)))
    (line,) = re.findall("^- .*", text, flags=re.M)
    assert re.findall(r"\d+", line) == ["12", "6", "8"]
    assert line.startswith("- Passed (seeds): ")
    assert "<summary>1 check passed</summary>" in text
    assert trust_section(with_checks(data)) == ""


@pytest.mark.parametrize(
    ("failed", "limits"),
    [
        ([], "3 fresh seeds; 2 epochs"),
        ([Check.INTERIOR], TRIED),
        ([Check.TUNED], TRIED),
        ([Check.BUDGET], f"3 fresh seeds; 2 epochs{FEW}"),
        ([Check.LONGER], "3 fresh seeds; 2 epochs (1 arm still improving at the end)"),
        ([Check.IMAGES], f"3 fresh seeds; 2 epochs; {CHANGED}"),
        (list(Check), f"3 fresh seeds; 2 epochs{WITH_BASELINE}; {CHANGED}; {BEYOND}"),
        ([Check.SEEDS, Check.MACHINE], "3 fresh seeds; 2 epochs"),
    ],
)
def test_failed_checks_are_limits_of_the_answer(
    data: ReportData, failed: list[Check], limits: str
) -> None:
    shown = with_checks(data, *(rows(check, check in failed) for check in Check))
    assert limits_of(front.headline(shown)) == limits
    assert metrics(shown)["failed_checks"] == len(failed)
    below = "Its validation accuracy is not shown" in front.headline(shown)
    assert below == (Check.REFERENCES in failed)


@pytest.mark.parametrize("below", SUBJECTS)
def test_a_baseline_below_the_majority_class_is_the_first_sentence(data: ReportData, below) -> None:
    checks = rows(Check.REFERENCES, False)
    for row in checks:
        row["passed"] = row["subject"] != below
    answer = front.headline(with_checks(data, checks))
    assert answer.startswith(f"{NOT_ABOVE_MAJORITY} **augmentation** ") == (below == MAJORITY)
    later = re.findall("Its validation accuracy is not shown to be above that of ([^.]*)", answer)
    assert later == ([] if below == MAJORITY else [below])


@pytest.mark.parametrize("problem", ["variance", "bias", "both"])
def test_longer_training_is_advised_only_where_the_baseline_does_not_overfit(
    data: ReportData, problem: str
) -> None:
    shown = with_checks(data, rows(Check.REFERENCES, True))
    shown = dataclasses.replace(shown, diagnosis=data.diagnosis.assign(problem=problem))
    assert ("training.epochs" in trust_section(shown)) == (problem != "variance")


def test_a_baseline_that_is_not_tuned_has_no_values_tried(data: ReportData) -> None:
    shown = with_checks(data, rows(Check.TUNED, True, subject="", value=0))
    limits = "3 fresh seeds; 2 epochs; an untuned baseline"
    assert limits_of(front.headline(shown)) == limits


def test_checks_change_no_verdict_and_stand_before_the_diagnosis(data: ReportData) -> None:
    passed, failed = (
        all_pages(with_checks(data, *(rows(check, bad) for check in Check)))["report.md"]
        for bad in (False, True)
    )
    tables = [
        [line for line in text.splitlines() if line.startswith("|")] for text in (passed, failed)
    ]
    assert tables[0] == tables[1]
    places = [failed.index(mark) for mark in ("forest.png", "## Trust checks", "## Diagnosis")]
    assert places == sorted(places)
