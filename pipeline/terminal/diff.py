"""Print what differs between two reports: of folders, protocols or commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.validation import Refusals, unknown_name
from pipeline.execution.git import committed_texts, is_commit, names
from pipeline.records.reports import (
    FILES,
    METRICS,
    WrittenReport,
    is_report,
    parse_report,
    read_report,
)
from pipeline.reporting.changes import ARROW, changes_section
from pipeline.runtime.errors import Refusal

REPORTS = Path("reports")


@dataclass(frozen=True)
class ReportVersion:
    """One version of a report: a folder with a report, or a commit with several reports."""

    word: str
    folder: Path | None

    def report(self, name: str) -> WrittenReport:
        """Return the report in the folder, or that of a protocol in the commit.

        Args:
            name: The name of the protocol; ignored for a folder.

        Raises:
            Refusal: There is none.
        """
        if self.folder:
            return read_report(self.folder)
        paths = {file: (REPORTS / name / file).as_posix() for file in FILES}
        texts = committed_texts(self.word, list(paths.values()))
        present = {file: texts[path] for file, path in paths.items() if path in texts}
        if not present:
            there = _committed(self.word)
            if not there:
                raise Refusal(f"{self.word}: no report in {REPORTS}; expected a commit with one")
            raise Refusal(unknown_name(f"{self.word}: {REPORTS}", name, there))
        return parse_report(present, f"{self.word}: {REPORTS / name}")


def show_diff(
    before: str, after: str, protocols: Sequence[str] | None, usual: Sequence[str]
) -> None:
    """Print a section for each protocol, and the names of other reports that differ.

    Args:
        before: A folder with a report, the name of a folder in `reports/`, or a commit.
        after: Another one.
        protocols: The protocols that are compared if both are commits; None for the usual ones.
        usual: Those of params.yaml.

    Raises:
        Refusal: One of them is neither, or has no report of a protocol.
    """
    refusals = Refusals()
    versions: list[ReportVersion] = []
    for key, word in (("BEFORE", before), ("AFTER", after)):
        with refusals.collect():
            versions.append(_version(key, word))
    refusals.require_none()
    named = [version.folder.name for version in versions if version.folder]
    if protocols and not named:
        _require_reports(protocols, (before, after))
    title = ARROW.join(f"`{version.word}`" for version in versions)
    for name in named[-1:] or protocols or usual:
        reports = [version.report(name) for version in versions]
        heading = title if len(named) == len(versions) else f"{name}: {title}"
        print(f"{changes_section(heading, *reports)}\n")
    others = [] if named or protocols else _changed(before, after, usual)
    if others:
        print(f"note: other reports differ too: --protocol {' --protocol '.join(others)}")


def _require_reports(protocols: Sequence[str], commits: Sequence[str]) -> None:
    """Check that one of the commits, if they have reports, has a report of every protocol."""
    existing = {name for commit in commits for name in _committed(commit)}
    unknown = [name for name in protocols if name not in existing]
    if existing and unknown:
        raise Refusal(*(unknown_name("--protocol", name, existing) for name in unknown))


def _committed(commit: str) -> list[str]:
    """Return the names of the reports in a commit."""
    paths = names("ls-tree", "-r", "-z", "--name-only", commit, "--", f"{REPORTS}/")
    return sorted({Path(path).parts[1] for path in paths if Path(path).name == METRICS})


def _changed(before: str, after: str, shown: Sequence[str]) -> list[str]:
    """Return the other reports that differ between two commits."""
    paths = names("diff", "--name-only", "-z", "--relative", before, after, "--", f"{REPORTS}/")
    folders = {Path(path).parts[1] for path in paths if len(Path(path).parts) > 2}
    return sorted(folders - set(shown))


def _version(key: str, word: str) -> ReportVersion:
    """Return the version that an argument names.

    Raises:
        Refusal: It names none.
    """
    for folder in (Path(word), REPORTS / word):
        if is_report(folder):
            return ReportVersion(word, folder)
    if is_commit(word):
        return ReportVersion(word, None)
    raise Refusal(
        f"diff: {key}: unknown name {word!r}; "
        f"expected a folder with a report, the name of one in {REPORTS}/, or a commit"
    )
