"""`gapwise export` writes one file, and says in a line what it cannot do."""

import pytest

from pipeline import cli


@pytest.fixture
def reports(tmp_path, monkeypatch):
    """Return the reports of a project: one alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("protocols: [tiny]\n")
    pages = tmp_path / "reports" / "tiny" / "pages"
    pages.mkdir(parents=True)
    (pages / "gap.md").write_text("# The gap\n")
    (pages.parent / "report.md").write_text("# Title\n")
    (pages.parent / "figures").mkdir()
    return tmp_path / "reports"


@pytest.mark.parametrize("protocols", [None, ["tiny"]])
def test_a_report_is_one_file_beside_its_folder_or_where_it_is_wanted(reports, protocols, capsys):
    wanted = reports.parent / "wanted.html"
    for to, file in ((None, reports / "tiny.html"), (wanted, wanted)):
        with pytest.raises(SystemExit, match="^0$"):
            cli.export(protocols, html=True, to=to)
        assert "The gap" in file.read_text()
    assert "wanted.html (0.0 MB)" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize(
    ("protocols", "options", "line"),
    [
        (["tiny"], {"html": False}, "export: --html: missing; expected this format"),
        (["other"], {}, "export: REPORTS: unknown name 'other'; expected one of: tiny"),
        (
            ["tiny", "a.html"],
            {},
            "export: REPORTS: unknown name 'a.html'; expected one of: tiny; the file to write: "
            "--to a.html",
        ),
        (["tiny", "b"], {"to": "x"}, "export: --to: 2 reports in one file; expected one report"),
    ],
)
def test_bad_input_is_one_line(reports, protocols, options, line, capsys):
    with pytest.raises(SystemExit, match="^2$"):
        cli.export(protocols, **{"html": True, **options})
    assert capsys.readouterr().err == f"error: {line}\n"
