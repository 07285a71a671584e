"""What git shows of entries that a ledger has lost."""

import re
import subprocess
from pathlib import Path

import pytest

from pipeline.execution.ledger_history import hidden_entries
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


def hidden(path=PATH):
    """Return the line number and the commit of every entry that is named, and the cures."""
    matches = [
        re.search(r"line (\d+) of commit (\w+): .*run: git show (\w+):(.*)", line)
        for line in hidden_entries(path)
    ]
    return [(int(one[1]), one[2]) for one in matches], [
        (one[3], "then gapwise run" in one[4]) for one in matches
    ]


def short(revision):
    words = ("git", "rev-parse", revision)
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout[:9]


@pytest.mark.parametrize(
    ("versions", "now", "places", "cured"),
    [
        (["a\n", "a\nb\n", "a\nb\nc\n"], "a\nb\nc\nd\n", [], None),
        (["a\n", "a\nb\n"], "a\nb\n", [], None),
        (["a\nb\n", "a\n", "a\nb\n"], "a\nb\n", [], None),  # it came back
        (["a\n", "a\nb\n", "a\nx\n"], "a\nx\n", [(2, 1)], None),
        (["a\nb\n", "a\n"], "a\n", [(2, 0)], 0),
        (["a\nb\n", "b\n"], "b\n", [(1, 0), (2, 0)], None),
        (["a\nb\n", "b\na\n"], "b\na\n", [(1, 0), (2, 0)], None),
        (["a\n", None, "z\n"], "z\n", [(1, 0)], None),
        (["a\n", "x\n", "a\n"], "a\n", [(1, 1)], None),
        (["a\nb\n"], "a\nx\n", [(2, 0)], None),
        (["a\n", "a\nb\n"], None, [(1, 0), (2, 1)], 1),
    ],
)
def test_an_entry_that_is_hidden_is_named(repository, versions, now, places, cured):
    commits = []
    for text in versions:
        commit(text)
        commits.append(short("HEAD"))
    if now is None:
        PATH.unlink()
    else:
        PATH.write_text(now)
    named, cures = hidden()
    assert named == [(line, commits[number]) for line, number in places]
    whole = cured is not None
    shown = [commits[cured] if whole else commits[number] for _, number in places]
    assert cures == [(commit, whole) for commit in shown]


def test_entries_of_a_branch_count_as_those_of_the_first_parents(repository):
    commit("a\n")
    git("checkout", "-qb", "side")
    commit("a\nb\n")
    git("checkout", "-q", "-")
    git("merge", "-q", "--no-ff", "side", "-m", "merge")
    assert hidden() == ([], [])
    git("checkout", "-q", "side")
    commit("a\nb\nx\n")
    branch = short("HEAD")
    git("checkout", "-q", "-")
    commit("a\nb\nc\n")
    git("merge", "-q", "--no-ff", "-s", "ours", "side", "-m", "again")
    assert hidden() == ([(3, branch)], [(branch, False)])


def test_a_merge_whose_first_parent_is_an_old_branch_hides_nothing(repository):
    commit("a\n")
    commit("a\nb\n")
    opened = short("HEAD")
    commit("a\nb\nc\n")
    last = short("HEAD")
    git("branch", "-m", "main")
    git("checkout", "-qb", "attack", "main~2")
    git("merge", "-q", "-s", "ours", "--no-commit", "main")
    git("checkout", "main", "--", ".")
    commit("a\nz\n")
    assert hidden() == ([(2, opened), (3, last)], [(opened, False), (last, False)])


def test_a_replaced_or_grafted_commit_hides_nothing(repository):
    for text in ("a\n", "x\n"):
        commit(text)
    expected = ([(1, short("HEAD~1"))], [(short("HEAD~1"), False)])
    git("replace", "HEAD~1", "HEAD")
    assert hidden() == expected
    git("replace", "-d", "HEAD~1")
    head = subprocess.run(("git", "rev-parse", "HEAD"), capture_output=True, check=True).stdout
    (repository.parent / ".git" / "info").mkdir(exist_ok=True)
    (repository.parent / ".git" / "info" / "grafts").write_bytes(head)  # without parents
    assert hidden() == expected


def test_bytes_that_are_no_text_are_compared(repository):
    for content in (b"a\n\xff\n", b"a\n\xfe\n"):
        PATH.parent.mkdir(parents=True, exist_ok=True)
        PATH.write_bytes(content)
        git("add", "-A")
        git("commit", "-qm", "results")
    assert [line for line, _ in hidden()[0]] == [2]


def test_without_commits_of_the_ledger_there_is_nothing_to_show(repository, tmp_path, monkeypatch):
    with pytest.raises(Refusal, match="no commit here"):
        list(hidden_entries(PATH))
    commit("a\n")
    (line,) = hidden_entries(Path("reports/other/ledger.jsonl"))
    assert "in no commit; run: git add" in line
    commit("b\n")
    clone = tmp_path / "clone"
    git("clone", "-q", "--depth", "1", f"file://{tmp_path}", str(clone))
    monkeypatch.chdir(clone / "project")
    (line,) = hidden_entries(PATH)
    assert "git fetch --unshallow" in line
