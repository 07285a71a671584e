"""What is missing in a file of a page or a figure is one clear line."""

from pathlib import Path

import pytest
from report_data import report_data

from pipeline.reporting import pages, plots
from pipeline.reporting.pages import all_pages
from pipeline.reporting.plots import all_figures
from pipeline.runtime.errors import Refusal

DATA = report_data({"one": {"a": "deterministic"}}, {"a": (0.0, "inconclusive")})
PAGES = "def pages(data):\n    return ()\n"


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("no_order", PAGES, ("ORDER: missing; expected int",)),
        ("text_order", f"ORDER = '5'\n{PAGES}", ("ORDER: invalid value '5'; expected int",)),
        ("no_pages", "ORDER = 5\n", ("pages: missing; expected function",)),
        ("nothing", "", ("ORDER: missing; expected int", "pages: missing; expected function")),
    ],
)
def test_a_page_without_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, lines: tuple[str, ...]
) -> None:
    (tmp_path / f"{name}.py").write_text(content)
    monkeypatch.setattr(pages, "__path__", [*pages.__path__, str(tmp_path)])
    with pytest.raises(Refusal) as refused:
        all_pages(DATA)
    assert refused.value.lines == tuple(
        f"pipeline/reporting/pages/{name}.py: {line}" for line in lines
    )


def test_a_figure_without_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no_figures.py").write_text("")
    monkeypatch.setattr(plots, "__path__", [*plots.__path__, str(tmp_path)])
    with pytest.raises(Refusal) as refused:
        all_figures(DATA)
    expected = "pipeline/reporting/plots/no_figures.py: figures: missing; expected function"
    assert refused.value.lines == (expected,)


def test_a_page_that_has_it_is_shown_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (
        "from pipeline.reporting.pages._page import Page\n"
        "ORDER = 0\n"
        "def pages(data):\n"
        "    yield Page('first_of_all', 'First', '# First')\n"
    )
    (tmp_path / "first_of_all.py").write_text(content)
    monkeypatch.setattr(pages, "__path__", [*pages.__path__, str(tmp_path)])
    names = list(all_pages(DATA))
    assert names[:2] == ["report.md", "pages/first_of_all.md"]
