"""The page of cards is made from the code, every regularizer on it."""

from pathlib import Path

from pipeline import regularizers
from pipeline.terminal.cards import cards

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_code_says(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "regularizers.md").read_text()
    assert page == cards(), "run: python -m pipeline.terminal.cards > docs/regularizers.md"
    assert [
        line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")
    ] == list(regularizers.names())


def test_every_setting_stands_with_its_default_and_what_is_allowed(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = cards()
    assert "| `rate` | `0.5` | a number or a list (each a number) |" in page
    assert "| `output_sizes` | `null` | a list (each an integer >= 1) or null |" in page
    assert "| `patience` | `2` | an integer >= 1 |" in page
    assert '| `monitor` | `"loss"` | one of: loss, accuracy |' in page
    assert "Test rule: 12 noise passes" in page
