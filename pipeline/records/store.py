"""Keep the run store: the only reader and writer of runs, content-addressed by fingerprint.

It lies outside DVC's outputs, because DVC deletes an output before the stage that makes it runs: a
finished run stays finished whatever happens to the stage. A folder becomes a run by one rename.
"""

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipeline.config.plan import Plan
from pipeline.records.runs import (
    FINISHED,
    RECORD,
    State,
    is_intact,
    read_mapping,
    sha256,
    valid_record,
    write_record,
)
from pipeline.records.unchanged import unchanged_runs
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import CHECKSUM, new_folder, read_sealed, to_json, write_sealed
from pipeline.runtime.project import find_project, original
from pipeline.runtime.surroundings import GIT

TIMING = "timing.json"  # wall clock; in the store alone, so that DVC's outputs are reproducible
LIVE = "live.json"
ABANDONED = 600  # seconds; writing a run takes less than one
MUTED = 300  # seconds


@dataclass(frozen=True)
class Store:
    """The folder of all runs of this project; methods name a run by its fingerprint.

    Attributes:
        root: The folder. It need not exist before a run is stored.
    """

    root: Path

    def folder(self, fingerprint: str) -> Path:
        """Return the folder of a run, which may not exist.

        Args:
            fingerprint: The name of the run.
        """
        return self.root / fingerprint

    def checkpoints(self, fingerprint: str) -> Path:
        """Return the folder of the checkpoints of a run, which exists during its training.

        Args:
            fingerprint: The name of the run.
        """
        return self.root / "checkpoints" / fingerprint

    def state(self, fingerprint: str) -> State:
        """Return the state of a run.

        Args:
            fingerprint: The name of the run.

        Returns:
            Its recorded state; "missing" without a record, and with a corrupted file, so that the
            run is trained again.
        """
        folder = self.folder(fingerprint)
        record = valid_record(folder)
        return record["state"] if record and is_intact(folder, record) else "missing"

    def finished(self, fingerprint: str) -> bool:
        """Return whether a run needs no further training.

        Args:
            fingerprint: The name of the run.
        """
        return self.state(fingerprint) in FINISHED

    def has_failures(self) -> bool:
        """Return whether any run is recorded as failed."""
        names = (path.parent.name for path in self.root.glob(f"[!.]*/{RECORD}"))
        return any((self.record(name) or {}).get("state") == "failed" for name in names)

    def record(self, fingerprint: str) -> dict[str, Any] | None:
        """Return the record of a run; None if there is no valid one.

        Args:
            fingerprint: The name of the run.
        """
        return valid_record(self.folder(fingerprint))

    def ended_at(self, fingerprint: str) -> float:
        """Return the time at which a run was stored, in seconds since the epoch.

        Args:
            fingerprint: The name of the run.

        Raises:
            FileNotFoundError: The store has no record of the run.
        """
        return (self.folder(fingerprint) / RECORD).stat().st_mtime

    def identity(self, fingerprint: str) -> dict[str, Any]:
        """Return the settings and inputs that a run was trained from; empty if there is no run.

        Args:
            fingerprint: The name of the run.
        """
        return read_mapping(self.folder(fingerprint) / "run.json")

    def timing(self, fingerprint: str) -> dict[str, Any]:
        """Return the wall-clock measurements of a run; empty if there are none.

        Args:
            fingerprint: The name of the run.

        Returns:
            `seconds`, if it is there, is a number or None.
        """
        facts = read_mapping(self.folder(fingerprint) / TIMING)
        return facts if isinstance(facts.get("seconds"), int | float | None) else {}

    def write(
        self,
        fingerprint: str,
        files: Mapping[str, bytes],
        record: Mapping[str, Any],
        timing: Mapping[str, Any],
    ) -> None:
        """Store a run atomically, in place of any earlier one.

        The first complete run wins: where another process has finished it, this one is dropped.

        Args:
            fingerprint: The name of the run.
            files: Content by file name.
            record: The values of `record.json` without the fingerprint and the checksums of the
                files.
            timing: Wall-clock facts, which stay in the store.
        """
        staging = self.root / f".{fingerprint}.{uuid.uuid4().hex}"
        try:
            staging.mkdir(parents=True)
            for name, content in files.items():
                (staging / name).write_bytes(content)
            (staging / TIMING).write_text(to_json(timing))
            sums = {name: sha256(content) for name, content in sorted(files.items())}
            write_record(staging, {"fingerprint": fingerprint, **record, "files": sums})
            with FileLock(self.root / ".lock"):
                if not self.finished(fingerprint):
                    shutil.rmtree(self.folder(fingerprint), ignore_errors=True)
                    os.replace(staging, self.folder(fingerprint))
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def write_failure(self, fingerprint: str, reason: str, traceback: str = "") -> None:
        """Record that a run failed; the next stage tries it again.

        Args:
            fingerprint: The name of the run.
            reason: One line for people.
            traceback: The traceback, if any.
        """
        record = {"state": "failed", "reason": reason, "audit": {}, "cost": {}, "machine": {}}
        self.write(fingerprint, {}, record, {"traceback": traceback})

    def sweep(self) -> None:
        """Remove temporary files of killed processes, and checkpoints of finished runs."""
        for folder in self.root.glob(".*.*"):
            if time.time() - folder.stat().st_mtime > ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in self.root.glob("checkpoints/*"):
            if self.finished(folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    def mute(self, trouble: str) -> None:
        """Stop live curves of all runs for `MUTED` seconds, so that each does not wait for W&B.

        Args:
            trouble: The reason, in one line.
        """
        write_sealed(self.root / LIVE, {"trouble": trouble, "until": time.time() + MUTED})

    def muted(self) -> str:
        """Return why live curves are stopped; empty if they are not."""
        try:
            stopped = read_sealed(self.root / LIVE)
        except Refusal:
            return ""
        return str(stopped["trouble"]) if stopped["until"] > time.time() else ""

    def unchanged(self, plan: Plan) -> dict[str, str]:
        """Return fingerprint -> reason of the runs that `unchanged_runs` finds in a phase.

        Args:
            plan: The plan of the phase.
        """
        return unchanged_runs(plan, {name: self.record(name) for name in plan.fingerprints()})

    def assemble(self, plan: Plan, target: Path) -> list[str]:
        """Write a phase's folder, atomically: `plan.json` and every planned run that exists.

        A run with the weights of its reference is failed there: another plan may have another
        reference, so the store keeps it as it was trained.

        Args:
            plan: The plan of the phase.
            target: The folder, which is replaced.

        Returns:
            The fingerprints of missing runs.
        """
        missing = []
        unchanged = self.unchanged(plan)
        with new_folder(target) as staging:
            write_sealed(staging / "plan.json", plan.model_dump(mode="json"))
            for fingerprint in plan.trained():
                if self.state(fingerprint) == "missing":
                    missing.append(fingerprint)
                else:
                    _copy(self.folder(fingerprint), staging / fingerprint)
                if fingerprint in unchanged:
                    _fail(staging / fingerprint, unchanged[fingerprint])
        os.sync()  # a stage's end is what must survive a power cut
        return missing

    def restore(self, phases: Iterable[Path]) -> int:
        """Copy finished runs that the store lacks from phase folders, such as after `dvc pull`.

        Args:
            phases: Folders of phases, as `assemble` writes them.

        Returns:
            The number of runs copied.
        """
        folders = [path for phase in phases for path in sorted(phase.glob("*"))]
        return sum(self._restore_run(path) for path in folders if (path / RECORD).is_file())

    def _restore_run(self, folder: Path) -> bool:
        record = valid_record(folder)
        if record is None or record["state"] not in FINISHED:
            return False
        if self.finished(folder.name) or not is_intact(folder, record):
            return False
        files = {name: (folder / name).read_bytes() for name in record["files"]}
        written = ("fingerprint", "files", CHECKSUM)
        content = {key: value for key, value in record.items() if key not in written}
        self.write(folder.name, files, content, {})
        return True


def open_store(start: Path = Path()) -> Store:
    """Return the store of the project around `start`: `$GAPWISE_STORE`, else its folder `.runs`.

    Linked work trees share the store of the main one, and the copies that DVC makes of a project
    for an experiment that of the project.

    Args:
        start: A folder inside the project.
    """
    if os.environ.get("GAPWISE_STORE"):
        return Store(Path(os.environ["GAPWISE_STORE"]).absolute())
    return Store(_in_main_tree(original(find_project(start))) / ".runs")


def _in_main_tree(project: Path) -> Path:
    """Return the folder of a project in the main work tree; `project` if there is none.

    There is none without git, for a work tree of a bare repository, and for a linked one of a
    submodule. The folder may lie below the top of a larger repository.
    """
    questions = ("--git-dir", "--git-common-dir", "--show-prefix")
    folder, shared, prefix = _ask_git(project, *questions) or ("", "", "")
    if folder == shared or Path(shared).name != ".git":
        return project
    bare = _ask_git(Path(shared), "--is-bare-repository") != ["false"]
    return project if bare else Path(shared).parent / prefix


def _ask_git(folder: Path, *questions: str) -> list[str]:
    """Return the answers of `git rev-parse`; empty if there is no repository or no git."""
    command = ["git", "-C", str(folder), "rev-parse", "--path-format=absolute", *questions]
    here = {name: value for name, value in os.environ.items() if name not in GIT}
    try:
        git = subprocess.run(command, capture_output=True, check=True, env=here)
    except (OSError, subprocess.CalledProcessError):
        return []
    # names of folders may hold any bytes
    return os.fsdecode(git.stdout).split("\n")[: len(questions)]


def _fail(run: Path, reason: str) -> None:
    """Mark the copy of a run as failed in its record."""
    record = valid_record(run) or {}
    content = {key: value for key, value in record.items() if key != CHECKSUM}
    write_record(run, {**content, "state": "failed", "reason": reason})


def _copy(run: Path, target: Path) -> None:
    """Copy all files of a run except its timing, which differs at each training."""
    target.mkdir()
    for path in sorted(run.iterdir()):
        if path.name != TIMING:
            shutil.copyfile(path, target / path.name)
