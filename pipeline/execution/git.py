"""Query git about the project: the committed content, and reasons why git cannot be used."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pipeline.runtime.errors import Refusal

SETTINGS = {  # English messages; no grafts, which replace the parents of commits
    "LC_ALL": "C",
    "GIT_GRAFT_FILE": os.devnull,
}
QUIET = ("-c", "advice.graftFileDeprecated=false", "-c", "core.commitGraph=false")
NO_COMMIT = "no commit here; run: git init && git add -A && git commit -m start"


def git_problem(folder: Path = Path()) -> str:
    """Return why git shows no commit of a folder, with a remedy; "" if it shows one.

    Args:
        folder: The folder; by default the current one.
    """
    try:
        ended = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    except OSError:
        return "git is not installed"
    foreign = re.search(r"dubious ownership in repository at '(.+?)'", ended.stderr.decode())
    if foreign:
        cure = f"git config --global --add safe.directory '{foreign[1]}'"
        return f"{foreign[1]} belongs to another user; run: {cure}"
    return NO_COMMIT if ended.returncode else ""


def git(*words: str) -> bytes:
    """Return the output of a command of git in the current folder.

    Args:
        words: The command and its arguments, such as `"show", "HEAD:file"`.

    Raises:
        Refusal: It fails.
    """
    if problem := git_problem():
        raise Refusal(f"git: {problem}")
    ended = _git(Path(), *words)
    if ended.returncode:
        raise Refusal(f"git {words[0]}: {' '.join(ended.stderr.decode().split())}")
    return ended.stdout


def names(*words: str) -> list[str]:
    """Return the names that a command of git prints, separated by zero bytes.

    Args:
        words: The command and its arguments, with the option -z.
    """
    return [name for name in git(*words).decode().split("\0") if name]


def is_commit(word: str) -> bool:
    """Return whether git has a commit of this name.

    Args:
        word: A name of a commit, such as HEAD~1, a branch or a hash.
    """
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{word}^{{commit}}")
    return not git_problem() and not _git(Path(), *words).returncode


def committed_texts(commit: str, paths: Sequence[str]) -> dict[str, str]:
    """Return the content of the given files in a commit, by path; missing files are left out.

    Bytes that are not UTF-8 become backslashes with hexadecimal digits.

    Args:
        commit: The name of a commit.
        paths: Paths relative to the current folder, with slashes.

    Raises:
        Refusal: git fails.
    """
    words = ("ls-tree", "-z", "--name-only", "--end-of-options", commit)
    there = names(*words, *paths)
    contents = {path: git("show", f"{commit}:./{path}") for path in there}
    return {path: text.decode("utf-8", "backslashreplace") for path, text in contents.items()}


def is_shallow() -> bool:
    """Return whether the clone lacks older commits.

    Raises:
        Refusal: There is no commit.
    """
    return git("rev-parse", "--is-shallow-repository").strip() == b"true"


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "--no-replace-objects", *QUIET, "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, check=False, env=os.environ | SETTINGS)
