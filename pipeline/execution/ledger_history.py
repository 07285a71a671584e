"""Look in git for entries of a ledger that the present one does not have.

Every commit that leads to the current one counts, along all parents of a merge.
"""

from collections.abc import Iterator
from pathlib import Path

from pipeline.execution.git import committed_texts, git, is_shallow

SHORT = 9  # hexadecimal digits of a commit

Entry = tuple[int, str]  # its line number, and the line, which holds the digest of the line before


def hidden_entries(path: Path) -> Iterator[str]:
    """Yield a line for every entry in a committed version of a ledger that the file lacks.

    An entry that was moved counts as lacking, since its place in the chain is another one.

    Args:
        path: The ledger, from the current folder.

    Raises:
        Refusal: There is no commit.
    """
    name = path.as_posix()
    if is_shallow():
        yield f"{path}: a shallow clone shows no history; run: git fetch --unshallow"
        return
    words = ("rev-list", "--full-history", "--topo-order", "--reverse", "HEAD", "--", name)
    commits = git(*words).decode().split()
    if not commits:
        yield f"{path}: in no commit; run: git add {path} && git commit"
    now = path.read_text(encoding="utf-8", errors="backslashreplace") if path.exists() else ""
    texts = {commit: committed_texts(commit, [name]).get(name, "") for commit in commits}
    versions = {commit: _entries(text) for commit, text in texts.items()}
    first: dict[Entry, str] = {}
    for commit, entries in versions.items():
        for entry in entries:
            first.setdefault(entry, commit)
    present = _entries(now)
    every = {*first, *present}
    whole = [commit for commit, entries in versions.items() if entries.keys() >= every]
    for entry in sorted(first.keys() - present.keys()):
        place = f"{path}: line {entry[0]} of commit {first[entry][:SHORT]}: not in the present file"
        commit = (whole or [first[entry]])[-1][:SHORT]
        show = f"git show {commit}:./{name}"
        cure = f"run: {show} > {path}, then gapwise run" if whole else f"to see it, run: {show}"
        yield f"{place}: an opening of the test set is hidden; {cure}"


def _entries(text: str) -> dict[Entry, None]:
    """Return the entries of a ledger in their order."""
    return dict.fromkeys(enumerate((line for line in text.split("\n") if line), start=1))
