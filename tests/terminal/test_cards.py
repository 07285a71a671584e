"""The page of cards is made from the code and the committed reports, every regularizer on it."""

from pathlib import Path

from shipped import SHIPPED

from pipeline import regularizers
from pipeline.execution.git import committed_texts, names
from pipeline.records.reports import FILES, WrittenReport, parse_report
from pipeline.terminal.cards import cards

ROOT = Path(__file__).resolve().parents[2]


def committed_reports():
    """Return the committed reports of the protocols of this project, by name."""
    listed = names("ls-tree", "-z", "--name-only", "HEAD", "reports/")
    folders = [folder for folder in map(Path, listed) if folder.name in SHIPPED]
    return {folder.name: committed_report(folder) for folder in folders}


def committed_report(folder):
    """Return the committed report in a folder."""
    texts = committed_texts("HEAD", [f"{folder}/{name}" for name in FILES])
    by_name = {path.removeprefix(f"{folder}/"): text for path, text in texts.items()}
    return parse_report(by_name, folder.name)


def test_the_page_is_what_the_code_and_the_committed_reports_say(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "regularizers.md").read_text()
    written = cards(committed_reports())
    assert page == written, "run: python -m pipeline.terminal.cards > docs/regularizers.md"
    assert [
        line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")
    ] == list(regularizers.names())


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
