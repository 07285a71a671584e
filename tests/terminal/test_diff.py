"""`gapwise diff` of folders, protocols and commits, and what it says to anything else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runtime.errors import Refusal
from pipeline.terminal.diff import show_diff

HEAD = "study,arm,strength,n,difference,low,high,verdict,below_margin"
GAP = "gap_change,gap_change_low,gap_change_high"
METRICS = {"baseline": {"accuracy": 90.0, "gap": 5.0}, "runs": {"planned": 6, "done": 6}}


def write_report(folder: Path, verdict: str) -> None:
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    row = f"one,dropout,rate=0.5,3,0.02,0.01,0.03,{verdict},False,-0.01,-0.02,0.0"
    (folder / "plots" / "contrasts.csv").write_text(f"{HEAD},{GAP}\n{row}\n")


@pytest.fixture
def history(tmp_path, monkeypatch):
    """Return a project with two commits of a report, and another report that is not committed."""
    monkeypatch.chdir(tmp_path)
    words = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", "init", "-q"], check=True)
    for verdict in ("inconclusive", "helps"):
        write_report(tmp_path / "reports" / "tiny", verdict)
        subprocess.run(["git", "add", "-A"], check=True)
        subprocess.run([*words, "commit", "-qm", verdict], check=True)
    write_report(tmp_path / "elsewhere" / "tiny", "hurts")
    return tmp_path


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ("HEAD~1", "HEAD", "inconclusive → helps"),
        ("HEAD~1", "tiny", "inconclusive → helps"),
        ("tiny", "HEAD~1", "helps → inconclusive"),
        ("tiny", "elsewhere/tiny", "helps → hurts"),
        ("HEAD~1", "elsewhere/tiny", "inconclusive → hurts"),
    ],
)
def test_reports_are_folders_names_or_commits(history, capsys, before, after, change):
    show_diff(before, after, None, ["tiny"])
    lines = capsys.readouterr().out.splitlines()
    assert f"`{before}` → `{after}`" in lines[0]
    assert f"| dropout | {change} | +2.0 [+1.0, +3.0] |" in "\n".join(lines)


def test_commits_of_several_protocols_have_a_section_each(history, capsys):
    write_report(history / "reports" / "other", "helps")
    show_diff("HEAD", "HEAD", ["tiny", "tiny"], [])
    assert capsys.readouterr().out.count("### tiny: `HEAD` → `HEAD`\n\nNo verdict") == 2


def test_other_reports_that_two_commits_differ_in_are_offered(history, capsys):
    write_report(history / "reports" / "more", "helps")
    subprocess.run(["git", "add", "-A"], check=True)
    words = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run([*words, "commit", "-qm", "more"], check=True)
    show_diff("HEAD~1", "HEAD", None, ["tiny"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "note: other reports differ too: --protocol more"
    show_diff("HEAD~1", "HEAD", ["tiny"], ["tiny"])
    assert "note:" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("nothing", "HEAD"), "diff: BEFORE: unknown name 'nothing'; expected a folder with a "),
        (("--help", "HEAD"), "diff: BEFORE: unknown name '--help'; expected a folder with a "),
        (("HEAD", "HEAD", "no"), "--protocol: unknown name 'no'; expected one of: tiny"),
        (("HEAD", "HEAD"), "HEAD: reports: unknown name 'other'; expected one of: tiny"),
    ],
)
def test_bad_input_is_one_line(history, words, line):
    with pytest.raises(Refusal) as refused:
        show_diff(*words[:2], words[2:], ["other"])
    (message,) = refused.value.lines
    assert message.startswith(line)


def test_both_unknown_names_are_reported(history):
    with pytest.raises(Refusal) as refused:
        show_diff("no", "nor", None, ["tiny"])
    starts = [line.partition(";")[0] for line in refused.value.lines]
    assert starts == ["diff: BEFORE: unknown name 'no'", "diff: AFTER: unknown name 'nor'"]


def test_it_starts_without_slow_imports():
    source = (
        "import sys, pipeline.cli, pipeline.terminal.diff, pipeline.terminal.export; "
        "sys.exit(bool({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", source],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
