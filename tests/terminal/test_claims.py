"""`gapwise claims`: outcomes of written reports, and what a protocol still needs."""

import re

import pytest

from pipeline import cli
from pipeline.config.claims import Claim
from pipeline.planning.claims import with_partners
from pipeline.records.reports import WrittenReport
from pipeline.terminal import claims

CLAIMS = """
claims:
  - {id: decays, source: A paper, by: paper, says: It helps., contrast: {arm: shift}, expect: lower}
"""
ROW = {
    **{"claim": "drop_helps", "study": "dropout", "by": "paper", "says": "It helps."},
    **{"measure": "error", "rule": "directional", "alternative": "", "outcome": "supported"},
    **{"difference": -0.02, "low": -0.03, "high": -0.01},
}


def _line(text):
    return " ".join(text.split())


@pytest.fixture
def claimed(project, monkeypatch):
    """Return the tiny project with a claim in each of two studies, the first one reported."""
    path = project / "experiments" / "others.yaml"
    path.write_text(path.read_text() + CLAIMS)
    reports = {"tiny": WrittenReport({}, {}, (), (), (ROW,))}
    monkeypatch.setattr(claims, "_reports", lambda: (reports, {}))
    return project


def test_outcomes_of_all_reports_are_printed(claimed, capsys):
    claims.show_claims()
    shown = capsys.readouterr().out
    assert re.search(r"drop_helps \(paper\).* supported .*tiny: supported -2\.0", shown)
    assert "1 of 2 registered claims tested: 1 supported." in _line(shown)
    assert "Holm's correction over all claims that a report tests." in _line(shown)


def test_without_a_report_the_registered_claims_are_counted(claimed, monkeypatch, capsys):
    monkeypatch.setattr(claims, "_reports", lambda: ({}, {}))
    claims.show_claims()
    assert capsys.readouterr().out == "2 registered claims, of which no report has tested one.\n"


def test_a_protocol_has_its_outcomes_and_the_studies_that_it_needs(claimed, capsys):
    assert claims.show_claims_of("tiny") == ["others"]
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert any(re.search(r"drop_helps.*-2\.0 \[-3\.0, -1\.0\].*supported", line) for line in lines)
    (place,) = [place for place, line in enumerate(lines) if line.startswith(" others")]
    assert "Holm's correction over all claims that a report tests; the 95 %" in _line(shown)
    row = lines[place].split()
    # two settings of one arm and one of the other on two seeds, and all arms on three
    assert row[1] == str(2 * (1 + 2) + 3 * 3)
    assert lines[place + 1].split() == ["decays"]
    assert "1 claim, 15 runs to train: about 0.1 minutes with 2 workers. Train" in _line(shown)


def test_runs_that_widening_may_add_are_announced(claimed, capsys):
    path = claimed / "experiments" / "others.yaml"
    space = "{uniform: [0.25, 0.75], points: 3}"
    path.write_text(path.read_text().replace("[0.5, 1.0]", space))
    claims.show_claims_of("tiny")
    added = re.search(r"with 2 workers; (.*)\. Train them", _line(capsys.readouterr().out))
    # at each of two times as many settings as one end has steps, on two seeds
    assert re.fullmatch(r"further rounds of exploration may add up to \d+ runs", added[1])


def test_a_study_that_cannot_run_here_is_not_needed(claimed, capsys):
    path = claimed / "experiments" / "others.yaml"
    path.write_text(path.read_text().replace("question", "protocols: [elsewhere]\nquestion", 1))
    protocol = claimed / "experiments" / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("others, ", ""))
    assert claims.show_claims_of("tiny") == []
    shown = _line(capsys.readouterr().out)
    assert "no further study" in shown
    assert "1 study is left out of tiny" in shown
    assert "add tiny to its list `protocols`, as in experiments/others.yaml" in shown


def test_studies_come_with_those_that_their_claims_compare_them_with():
    def claim(name, **contrast):
        given = {"source": "s", "by": "both", "says": "s", "expect": "lower"}
        return Claim(id=name, contrast={"arm": "a", **contrast}, **given)

    registered = {
        "one": [claim("a", against="b", against_study="two")],
        "two": [claim("b")],
        "three": [claim("c")],
    }
    assert with_partners(registered, ["one"]) == ["one", "two"]
    assert with_partners(registered, ["two"]) == ["one", "two"]
    assert with_partners(registered, ["three"]) == ["three"]


def test_to_run_studies_a_protocol_is_named(project, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.claims(train=True)
    assert ended.value.code == 2
    assert "claims: --run: no protocol" in capsys.readouterr().err
