"""Edits of a committed report whose predictions are not here."""

import json

import pytest

from pipeline.execution.headlines import headline_differences

SEEDS = """study,arm,seed,paired,test_accuracy,reference_test_accuracy
one,dropout,1000,True,0.93,0.91
one,dropout,1001,True,0.95,0.92
one,dropout,1002,False,,0.92
one,mixup,1000,True,0.9,0.91
one,mixup,1001,True,0.92,0.92
"""
CONTRASTS = """study,arm,strength,n,difference,low,high,verdict
one,dropout,rate=0.1,2,0.025,0.01,0.04,helps
one,mixup,,2,-0.005,-0.02,0.01,inconclusive
"""
FRONT = """# Which regularizers close the gap: tiny

With 2 fresh seeds, **dropout** (+2.5 points [+1.0, +4.0]) helps. **mixup** is inconclusive.

| arm: setting | verdict | difference [95 % interval] |
| --- | --- | ---: |
| dropout: rate=0.1 | helps | +2.5 [+1.0, +4.0] |
| mixup | inconclusive | -0.5 [-2.0, +1.0] |
"""
METRICS = {"baseline": {"accuracy": 91.5}, "runs": {}, "points": {"dropout": 2.5, "mixup": -0.5}}
FILES = {
    "seeds.csv": SEEDS,
    "plots/contrasts.csv": CONTRASTS,
    "report.md": FRONT,
    "metrics.json": json.dumps(METRICS),
}


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
        ("report.md", "(+2.5 points", "(+3.5 points", "the answer has +3.5 points of dropout"),
        ("report.md", "helps | +2.5", "helps | +3.5", "the table has +3.5 points of dropout"),
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
    assert "line 1: damaged" in line
    (report / "ledger.jsonl").unlink()
    (report / "report.md").unlink()
    assert headline_differences(report) == [f"{report}/report.md: missing; run: gapwise restore"]
    (report / "metrics.json").write_text("{")
    (line,) = headline_differences(report)
    assert "metrics.json: damaged" in line
