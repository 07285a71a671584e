"""Look whether a ledger has only grown in the history of git, commit by commit.

The first parents of the current commit count: what a branch did until it was merged is one step.
"""

from collections.abc import Iterator
from pathlib import Path

from pipeline.execution.git import committed_texts, git, is_shallow

SHORT = 9  # hexadecimal digits of a commit


def rewritten_entries(path: Path) -> Iterator[str]:
    """Yield a line for every commit that removes or rewrites entries of a ledger.

    The file as it is now counts as the last step.

    Args:
        path: The ledger, from the current folder.

    Raises:
        Refusal: There is no commit.
    """
    name = path.as_posix()
    if is_shallow():
        yield f"{path}: a shallow clone shows no history; run: git fetch --unshallow"
        return
    words = ("log", "--first-parent", "--reverse", "--format=%H", "--", name)
    commits = git(*words).decode().split()
    if not commits:
        yield f"{path}: in no commit; run: git add {path} && git commit"
    before, earlier = "", ""
    for commit in commits:
        text = committed_texts(commit, [name]).get(name, "")
        yield from _step(path, f"commit {commit[:SHORT]}", before, text, earlier)
        before, earlier = text, commit[:SHORT]
    now = path.read_text(encoding="utf-8") if path.exists() else ""
    yield from _step(path, "the file", before, now, earlier)


def _step(path: Path, what: str, before: str, after: str, commit: str) -> Iterator[str]:
    """Yield a line where a step of the history did more than to add lines."""
    if after.startswith(before):
        return
    lines, kept = before.splitlines(), after.splitlines()
    number = next(
        (place for place, line in enumerate(lines) if kept[place : place + 1] != [line]), 0
    )
    done = "removes" if len(kept) < len(lines) else "rewrites"
    yield (
        f"{path}: {what} {done} line {number + 1} of commit {commit}: an opening of the test set "
        f"is hidden; run: git show {commit}:./{path.as_posix()} > {path}, then make run"
    )
