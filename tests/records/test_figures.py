"""Figures are kept where nothing that they show has changed, and only there."""

import pytest

from pipeline.records import figures as module

FIGURES = {"forest.png": b"forest", "forest.svg": b"<svg/>", "gap.png": b"gap"}


@pytest.fixture
def report(tmp_path):
    """Return a folder with the artifacts and the figures of a report."""
    (tmp_path / "artifacts" / "confirmation").mkdir(parents=True)
    (tmp_path / "figures").mkdir()
    (tmp_path / "artifacts" / "contrasts.csv").write_text("difference\n0.1\n")
    (tmp_path / "artifacts" / "confirmation" / "plan.json").write_text("{}")
    for name, content in FIGURES.items():
        (tmp_path / "figures" / name).write_bytes(content)
    module.note_figures(tmp_path / "artifacts", FIGURES)
    return tmp_path


def current(report):
    return module.current_figures(report / "artifacts", report / "figures")


def test_unchanged_figures_are_current(report):
    assert current(report) == FIGURES


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "artifacts" / "contrasts.csv").write_text("difference\n0.2\n"),
        lambda folder: (folder / "artifacts" / "confirmation" / "plan.json").write_text("[]"),
        lambda folder: (folder / "artifacts" / "gaps.csv").write_text("gap\n"),
        lambda folder: (folder / "artifacts" / module.DRAWN).write_text("{"),
        lambda folder: (folder / "artifacts" / module.DRAWN).unlink(),
        lambda folder: (folder / "figures" / "gap.png").write_bytes(b"other"),
        lambda folder: (folder / "figures" / "gap.png").unlink(),
        lambda folder: (folder / "figures" / "forest.svg").write_bytes(b"other"),
        lambda folder: (folder / "figures" / "forest.svg").unlink(),
        lambda folder: (folder / "figures" / "more.png").write_bytes(b"more"),
    ],
)
def test_no_figure_is_current_after_a_change_of_a_table_or_a_figure(report, change):
    change(report)
    assert current(report) == {}


@pytest.mark.parametrize("name", ["timing.csv", "tracked.json"])
def test_what_differs_by_machine_changes_no_figure(report, name):
    (report / "artifacts" / name).write_text("other")
    assert current(report) == FIGURES


@pytest.mark.parametrize("what", ["version", "PACKAGE"])
def test_another_library_or_other_code_may_draw_otherwise(report, monkeypatch, what):
    (report / "code.py").write_text("")
    monkeypatch.setattr(module, what, {"version": lambda library: "0", "PACKAGE": report}[what])
    assert current(report) == {}
