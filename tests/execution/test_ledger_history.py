"""What git shows of a ledger that did not only grow."""

import subprocess
from pathlib import Path

import pytest

from pipeline.execution.ledger_history import rewritten_entries
from pipeline.runtime.errors import Refusal

PATH = Path("reports/tiny/ledger.jsonl")
IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@example.org")


def git(*words):
    subprocess.run(["git", *IDENTITY, *words], check=True, capture_output=True)


def commit(text):
    """Commit the ledger with this content; None removes it."""
    if text is None:
        PATH.unlink()
    else:
        PATH.parent.mkdir(parents=True, exist_ok=True)
        PATH.write_text(text)
    git("add", "-A")
    git("commit", "-qm", "results")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Return a new repository below whose top the project is: the current folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("versions", "now", "words"),
    [
        (["a\n", "a\nb\n", "a\nb\nc\n"], "a\nb\nc\nd\n", []),
        (["a\n", "a\nb\n"], "a\nb\n", []),
        (["a\n", "a\nb\n", "a\nx\n"], "a\nx\n", ["rewrites line 2"]),
        (["a\nb\n", "a\n"], "a\n", ["removes line 2"]),
        (["a\nb\n", "b\n"], "b\n", ["removes line 1"]),
        (["a\nb\n", "b\na\n"], "b\na\n", ["rewrites line 1"]),
        (["a\n", None, "z\n"], "z\n", ["removes line 1"]),
        (["a\n", "x\n", "a\n"], "a\n", ["rewrites line 1", "rewrites line 1"]),
        (["a\nb\n"], "a\nx\n", ["the file rewrites line 2"]),
        (["a\nb\n"], None, ["the file removes line 1"]),
    ],
)
def test_a_commit_that_hides_an_opening_is_named(repository, versions, now, words):
    for text in versions:
        commit(text)
    if now is None:
        PATH.unlink()
    else:
        PATH.write_text(now)
    lines = list(rewritten_entries(PATH))
    assert len(lines) == len(words)
    assert all(
        word in line and "run: git show" in line for word, line in zip(words, lines, strict=True)
    )


def test_what_a_branch_did_until_its_merge_is_one_step(repository):
    commit("a\n")
    git("checkout", "-qb", "side")
    commit("a\nx\n")
    commit("a\nb\n")
    git("checkout", "-q", "-")
    git("merge", "-q", "--no-ff", "side", "-m", "merge")
    assert list(rewritten_entries(PATH)) == []
    git("checkout", "-q", "side")
    commit("z\n")
    git("checkout", "-q", "-")
    git("merge", "-q", "--no-ff", "side", "-m", "again")
    (line,) = rewritten_entries(PATH)
    assert "rewrites line 1" in line or "removes line 1" in line


def test_a_replaced_commit_hides_nothing(repository):
    for text in ("a\n", "x\n"):
        commit(text)
    git("replace", "HEAD~1", "HEAD")
    (line,) = rewritten_entries(PATH)
    assert "rewrites line 1" in line


def test_without_commits_of_the_ledger_there_is_nothing_to_show(repository, tmp_path, monkeypatch):
    with pytest.raises(Refusal, match="no commit here"):
        list(rewritten_entries(PATH))
    commit("a\n")
    (line,) = rewritten_entries(Path("reports/other/ledger.jsonl"))
    assert "in no commit; run: git add" in line
    commit("b\n")
    clone = tmp_path / "clone"
    git("clone", "-q", "--depth", "1", f"file://{tmp_path}", str(clone))
    monkeypatch.chdir(clone / "project")
    (line,) = rewritten_entries(PATH)
    assert "git fetch --unshallow" in line
