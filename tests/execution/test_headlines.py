"""Edits of a committed report whose predictions are not here."""

import pytest
from written import FILES

from pipeline.config.registered_claims import read_claims
from pipeline.execution.headlines import headline_differences, index_differences
from pipeline.reporting.claims_index import claims_page
from pipeline.reporting.index import index_page


@pytest.fixture
def report(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("seeds.csv", "0.95,0.92", "0.96,0.92", "seeds.csv: dropout: 0.030000 by its seeds"),
        ("plots/contrasts.csv", "0.1,2,0.025,", "0.1,2,0.035,", "seeds.csv: dropout"),
        ("metrics.json", "2.5", "3.5", "metrics.json: points.dropout: 3.5"),
        ("metrics.json", '"mixup"', '"other"', "metrics.json: points: not the arms"),
        ("report.md", "(+2.5 points", "(+3.5 points", "the answer has +3.5 points [+1.0, +4.0] of"),
        ("report.md", "points [+1.0,", "points [+1.1,", "the answer has +2.5 points [+1.1, +4.0]"),
        ("report.md", "helps | +2.5", "helps | +3.5", "the table has +3.5 [+1.0, +4.0] of dropout"),
        ("report.md", "[-2.0, +1.0]", "[-2.0, +2.0]", "the table has -0.5 [-2.0, +2.0] of mixup"),
        ("report.md", "| inconclusive |", "| helps |", "the table has helps of mixup"),
    ],
)
def test_an_edited_number_of_a_headline_is_named(report, name, old, new, words):
    assert headline_differences(report) == []
    text = (report / name).read_text()
    assert text.count(old) == 1
    (report / name).write_text(text.replace(old, new))
    lines = headline_differences(report)
    assert any(words in line for line in lines)
    assert all("; run: gapwise restore" in line for line in lines)


def test_damaged_and_missing_files_are_one_line(report):
    (report / "ledger.jsonl").write_text("{}\n")
    (line,) = headline_differences(report)
    assert "line 1: corrupted" in line
    (report / "ledger.jsonl").unlink()
    (report / "report.md").unlink()
    assert headline_differences(report) == [f"{report}/report.md: missing; run: gapwise restore"]
    (report / "metrics.json").write_text("{")
    (line,) = headline_differences(report)
    assert "metrics.json: corrupted" in line


STUDY = """
claims:
  - {id: one, source: A paper, by: paper, says: It helps., contrast: {arm: shift}, expect: lower}
"""


def test_the_index_counts_the_claims_of_all_studies(tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "shift.yaml").write_text(STUDY)
    registered = read_claims(tmp_path)
    pages = {
        "README.md": index_page({}, {}, registered),
        "claims.md": claims_page({}, {}, registered),
    }
    for name, text in pages.items():
        (tmp_path / "reports" / name).write_text(text)
    assert index_differences(tmp_path / "reports") == []
    (tmp_path / "experiments" / "again.yaml").write_text(STUDY.replace("one", "two"))
    (line,) = index_differences(tmp_path / "reports")
    assert line.startswith(f"{tmp_path}/reports/claims.md: differs")
