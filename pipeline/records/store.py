"""The run store: the only reader and writer of runs, content-addressed by fingerprint.

Separate, and outside DVC's outputs, because DVC deletes an output before the stage that makes it runs:
here a finished run stays finished whatever happens to the stage. A folder becomes a run by one rename;
`record.json` names the sha256 of every other file, and of what it says itself.
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.config.plan import Plan
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import (
    CHECKSUM,
    is_sealed,
    new_folder,
    read_sealed,
    to_json,
    write_sealed,
)
from pipeline.runtime.locks import exclusive

State = Literal["done", "failed", "diverged", "missing"]
FINISHED = ("done", "diverged")  # a failed run is tried again, a diverged one is a result
RECORD = "record.json"
EXPERIMENTS = (
    ".dvc",
    "tmp",
    "exps",
)  # below these `dvc exp run --temp` and its queue make their repositories
ABANDONED = 600  # seconds; writing a run takes less than one
LIVE, MUTED = "live.json", 300  # seconds
TIMING = (
    "timing.json"  # wall clock: kept in the store alone, so that DVC's outputs are the same twice
)


@dataclass(frozen=True)
class Store:
    """The folder of all runs of this project."""

    root: Path

    def folder(self, fingerprint: str) -> Path:
        """Where the run stands, or will stand."""
        return self.root / fingerprint

    def state(self, fingerprint: str) -> State:
        """The state of a run; a run with a damaged file counts as missing, so it is trained again."""
        record = _sound(self.folder(fingerprint))
        if record is None:
            return "missing"
        return record["state"] if _intact(self.folder(fingerprint), record) else "missing"

    def finished(self, fingerprint: str) -> bool:
        """Whether training this run again would be a waste."""
        return self.state(fingerprint) in FINISHED

    def write(
        self,
        fingerprint: str,
        files: Mapping[str, bytes],
        record: Mapping[str, Any],
        timing: Mapping[str, Any],
    ) -> None:
        """Stores a run at once, in place of any earlier one: all of it appears, or nothing.

        The first complete run wins: where another process has finished the same one, this one is dropped.
        """
        staging = self.root / f".{fingerprint}.{uuid.uuid4().hex}"
        try:
            staging.mkdir(parents=True)
            for name, content in files.items():
                (staging / name).write_bytes(content)
            (staging / TIMING).write_text(to_json(timing))
            sums = {
                name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())
            }
            write_record(staging, {"fingerprint": fingerprint, **record, "files": sums})
            with exclusive(self.root / ".lock"):
                if not self.finished(fingerprint):
                    shutil.rmtree(self.folder(fingerprint), ignore_errors=True)
                    os.replace(staging, self.folder(fingerprint))
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def checkpoints(self, fingerprint: str) -> Path:
        """Where a run that is being trained keeps its checkpoints; gone once it is finished."""
        return self.root / "checkpoints" / fingerprint

    def sweep(self) -> None:
        """Removes what killed writers left half-written, and checkpoints of finished runs."""
        for folder in self.root.glob(".*.*"):
            if time.time() - folder.stat().st_mtime > ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in self.root.glob("checkpoints/*"):
            if self.finished(folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    def write_failure(self, fingerprint: str, reason: str, traceback: str = "") -> None:
        """Records that a run was tried and failed; the next stage tries it again. The traceback stays with its timing."""
        nothing: dict[str, Any] = {"audit": {}, "cost": {}, "machine": {}}
        self.write(
            fingerprint,
            {},
            {"state": "failed", "reason": reason, **nothing},
            {"traceback": traceback},
        )

    def mute(self, trouble: str) -> None:
        """Lets nobody stream live curves for a while, so that W&B in trouble costs its patience once."""
        write_sealed(self.root / LIVE, {"trouble": trouble, "until": time.time() + MUTED})

    def muted(self) -> str:
        """The trouble for which no curves are streamed now; nothing where they may be."""
        try:
            told = read_sealed(self.root / LIVE)
        except Refusal:
            return ""
        return str(told["trouble"]) if told["until"] > time.time() else ""

    def record(self, fingerprint: str) -> dict[str, Any] | None:
        """What is recorded of a run, None where there is no whole record."""
        return _sound(self.folder(fingerprint))

    def identity(self, fingerprint: str) -> dict[str, Any]:
        """What a run was trained from, empty where there is no run."""
        path = self.folder(fingerprint) / "run.json"
        try:
            settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return settings

    def timing(self, fingerprint: str) -> dict[str, Any]:
        """Wall-clock facts of a run, empty where there are none."""
        path = self.folder(fingerprint) / TIMING
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        sound = isinstance(facts, dict) and isinstance(facts.get("seconds"), int | float | None)
        return facts if sound else {}

    def assemble(self, plan: Plan, target: Path) -> list[str]:
        """Writes a phase's folder from the plan, atomically: `plan.json` and every planned run there is; gives the others."""
        lost = []
        with new_folder(target) as staging:
            write_sealed(staging / "plan.json", plan.model_dump(mode="json"))
            for fingerprint in plan.fingerprints():
                if self.state(fingerprint) == "missing":
                    lost.append(fingerprint)
                else:
                    _copy(self.folder(fingerprint), staging / fingerprint)
        os.sync()  # a stage's end is what must survive a power cut
        return lost

    def restore(self, sources: Iterable[Path]) -> int:
        """Copies finished runs that a pull brought into `sources` (phase folders) and the store lacks; how many."""
        restored = 0
        for source in sources:
            for folder in sorted(path for path in source.glob("*") if (path / RECORD).is_file()):
                record = _sound(folder)
                wanted = (
                    record is not None
                    and record["state"] in FINISHED
                    and not self.finished(folder.name)
                )
                if record is not None and wanted and _intact(folder, record):
                    files = {name: (folder / name).read_bytes() for name in record["files"]}
                    kept = {
                        key: value
                        for key, value in record.items()
                        if key not in ("fingerprint", "files", CHECKSUM)
                    }
                    self.write(folder.name, files, kept, {})
                    restored += 1
        return restored


def open_store(root: Path = Path()) -> Store:
    """The store of the project at `root`: `$GAPWISE_STORE`, else `.runs` at the git root of the main tree.

    The main tree of an experiment that DVC runs in a repository of its own is the one that asked for it.
    """
    if os.environ.get("GAPWISE_STORE"):
        return Store(Path(os.environ["GAPWISE_STORE"]).absolute())
    here = root.resolve()
    here = next(
        (folder.parents[2] for folder in (here, *here.parents) if folder.parts[-3:] == EXPERIMENTS),
        here,
    )
    asked = ["git", "-C", str(here), "rev-parse", "--path-format=absolute", "--git-common-dir"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    top = Path(found.stdout.strip()).parent if found.returncode == 0 else here
    return Store(top / ".runs")


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Writes the record of the run in `folder` with its own checksum."""
    write_sealed(folder / RECORD, record)


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of the run in `folder`, None where there is none. Raises Refusal where it is not what was written."""
    record = _sound(folder)
    if record is None and (folder / RECORD).exists():
        raise Refusal(f"{folder / RECORD}: damaged; remove {folder.parent} and run: make run")
    return record


def checked_record(folder: Path) -> dict[str, Any] | None:
    """The record of the run in `folder` once its files are the ones that were written, None where there is no record.

    Raises Refusal where a file is missing or damaged.
    """
    record = read_record(folder)
    if record is not None and not _intact(folder, record):
        raise Refusal(
            f"{folder}: a file is missing or damaged; remove {folder.parent} and run: make run"
        )
    return record


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The curve of a run: one row per (epoch, split), empty where it never got there. Raises Refusal where it is damaged."""
    return [json.loads(line) for line in read_file(folder, "history.jsonl").decode().splitlines()]


def read_file(folder: Path, name: str) -> bytes:
    """A file of the run in `folder`, empty where there is none. Raises Refusal where it is not the one its record names."""
    path, record = folder / name, read_record(folder)
    content = path.read_bytes() if path.is_file() else b""
    expected = record["files"].get(name) if record else None
    if expected and hashlib.sha256(content).hexdigest() != expected:
        raise Refusal(f"{path}: missing or damaged; remove {folder.parent} and run: make run")
    return content


def _sound(folder: Path) -> dict[str, Any] | None:
    """The record in `folder`, None where there is none or its checksum is not that of what it says."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if is_sealed(record) else None


def _copy(run: Path, target: Path) -> None:
    """All files of a run but its timing, which is never the same twice."""
    target.mkdir()
    for path in sorted(run.iterdir()):
        if path.name != TIMING:
            shutil.copyfile(path, target / path.name)


def _intact(folder: Path, record: Mapping[str, Any]) -> bool:
    try:
        return all(_digest(folder / name) == digest for name, digest in record["files"].items())
    except OSError:
        return False


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
