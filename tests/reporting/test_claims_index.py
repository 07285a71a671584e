"""Claims over all reports: outcomes side by side, and on what a claim depends."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.config.identities import IDENTITIES
from pipeline.records.reports import WrittenReport
from pipeline.reporting.claims_index import claims_page, claims_summary, judged_claims

ROOT = Path(__file__).parents[2]
NAMES = ("claim", "outcome", "difference", "alternative")


def report(*rows):
    """Return a report with these claims: name, outcome, difference and what says the opposite."""
    common = {"by": "lecture_a", "says": "It | is so.", "measure": "error", "rule": "directional"}
    claims = [
        common | {"low": -0.1, "high": 0.1} | dict(zip(NAMES, (*row, "")[:4], strict=True))
        for row in rows
    ]
    return WrittenReport({}, {}, (), (), tuple(claims))


REPORTS = {
    "digits": report(
        ("helps", "supported", -0.01),
        ("shrinks", "contradicted", 0.02),
        ("differs", "supported", -0.02, "same"),
        ("open", "inconclusive", 0.0),
        ("later", "not testable", float("nan")),
        ("cost", "identity", 0.5),
    ),
    "mnist": report(
        ("helps", "inconclusive", -0.001),
        ("differs", "contradicted", 0.001, "same"),
        ("same", "supported", 0.001, "differs"),
    ),
}


def claim(name):
    """Return what the page sees of a registered claim."""
    return SimpleNamespace(id=name, rule="identity" if name == "cost" else "directional")


# four that no report tested; two of the tested ones are in no study of the project any more
REGISTERED = {
    "one": [claim(name) for name in ("helps", "shrinks", "differs", "same", "cost", "new")],
    "two": [claim("next"), claim("last")],
}
PARTIAL = {"digits+claims": report(("later", "supported", -0.03), ("helps", "contradicted", 0.5))}


def test_every_tested_claim_has_an_outcome_over_protocols():
    judged = judged_claims(REPORTS, PARTIAL)
    assert {one.claim["claim"]: one.verdict for one in judged} == {
        "helps": "supported",
        "shrinks": "contradicted",
        "differs": "conditional",
        "same": "supported",
        "open": "inconclusive",
        "later": "supported",
    }
    conditional = next(one for one in judged if one.verdict == "conditional")
    assert conditional.conditions == "supported on digits, contradicted on mnist"
    names = [one.claim["claim"] for one in judged]
    assert names.index("same") == names.index("differs") + 1
    summary = claims_summary(judged, REGISTERED)
    assert re.findall(r"\d+", summary) == ["6", "10", "3", "1", "1", "1"]
    assert claims_summary([], REGISTERED) == ""


def test_a_line_has_a_linked_number_for_every_protocol():
    page = claims_page(REPORTS, PARTIAL, REGISTERED)
    rows = {
        re.sub(r"\*", "", line).split("|")[1].split()[0]: line.replace("\\|", "/").split("|")[1:-1]
        for line in page.splitlines()
        if line.startswith("| **")
    }
    cells = {name: [cell.strip() for cell in line] for name, line in rows.items()}
    assert cells["helps"] == [
        "**helps** (lecture A): It / is so.",
        "**supported**",
        "[supported -1.0](digits/pages/claims.md)",
        "[inconclusive -0.1](mnist/pages/claims.md)",
    ]
    assert cells["later"][2:] == ["[supported -3.0](digits+claims/pages/claims.md)", "–"]
    assert "- **differs**: supported on digits, contradicted on mnist" in page
    assert "cost" not in page


@pytest.mark.parametrize(
    ("registered", "numbers"),
    [
        (["helps", "shrinks"], []),  # the others are registered in the plans of reports
        (["helps", "new"], ["1"]),
        (["helps", "new", "cost", "next"], ["3", "1"]),
    ],
)
def test_the_page_says_how_many_claims_are_not_tested(registered, numbers):
    claims = [claim(name) for name in registered]
    page = claims_page(REPORTS, PARTIAL, {"one": claims[:1], "two": claims[1:]})
    lines = [line for line in page.splitlines() if "Not tested by these reports" in line]
    assert [re.findall(r"\d+", line) for line in lines] == ([numbers] if numbers else [])
    assert all("`gapwise claims --protocol NAME`" in line for line in lines)


def test_identities_are_listed_with_tests_that_exist():
    page = claims_page(REPORTS, PARTIAL, {})
    listed = re.findall(r"^- (.*) `(tests/.*\.py)::(test_\w+)`$", page, re.MULTILINE)
    assert len(listed) == len(IDENTITIES)
    for _, path, name in listed:
        assert f"\ndef {name}(" in (ROOT / path).read_text()
    assert "## Identities" not in claims_page({}, {}, {})
