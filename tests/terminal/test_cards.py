"""The cards of regularizers: their settings, and the rows of reports that they quote."""

from pathlib import Path

from pipeline.records.reports import WrittenReport
from pipeline.terminal.cards import cards

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_stands_with_its_default_and_what_is_allowed(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = cards({})
    assert "| `rate` | `0.5` | a number or a list (each a number) |" in page
    assert "| `output_sizes` | `null` | a list (each an integer >= 1) or null |" in page
    assert "| `patience` | `2` | an integer >= 1 |" in page
    assert '| `monitor` | `"loss"` | one of: loss, accuracy |' in page
    assert "Test rule: 12 noise passes" in page


def test_a_card_quotes_arms_of_its_regularizer_alone(monkeypatch):
    monkeypatch.chdir(ROOT)
    row = {"study": "dropout", "arm": "dropout", "strength": "rate=0.3", "n": 5}
    row |= {"difference": 0.0125, "low": 0.004, "high": 0.021}
    both = row | {"study": "combinations", "arm": "dropout_and_shift", "strength": "both"}
    written = WrittenReport({}, {}, (row, both), ())
    page = cards({"tiny": written})
    line = "| [tiny](../reports/tiny/report.md) | rate=0.3 | 5 | +1.2 [+0.4, +2.1] |"
    assert page.count(line) == page.count("/tiny/report.md") == 1
    assert page.index("## dropout\n") < page.index(line) < page.index("## early_stopping\n")
