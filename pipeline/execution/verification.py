"""Verify a report: recompute it from its predictions in a temporary folder and compare.

The inputs are compared with the checksums in `dvc.lock`; the stages from choose on run again.
"""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pipeline
from pipeline.config.parameters import read_parameters
from pipeline.config.plan import read_plan
from pipeline.config.yaml_files import parse_yaml
from pipeline.execution.stage import Incomplete
from pipeline.records.figures import DRAWN
from pipeline.records.runs import checked_record
from pipeline.runtime.errors import Refusal

INPUTS = ("data", "exploration", "confirmation", "predictions")
VERBS = ("choose", "evaluate", "compare", "report")
LOCK = Path("dvc.lock")
UNSTABLE = (  # depend on the wall clock, a server, or whether the figures were drawn here
    *("timing.md", "timing.csv", "tracked.json", DRAWN),
)
REPORTS = Path("reports")
INDEX = ("md", "png")  # endings of the page over all reports and of its figure


def verify(protocols: Sequence[str]) -> None:
    """Recompute reports, by default all of `params.yaml`.

    Raises:
        Incomplete: A report differs.
    """
    differing = []
    for protocol in protocols or read_parameters().protocols:
        lines = differences(protocol)
        differing += lines
        print(f"{protocol}: {f'{len(lines)} differences' if lines else 'verified'}")
    if differing:
        raise Incomplete("\n".join(differing))


def differences(protocol: str, root: Path = Path()) -> list[str]:
    """Return one line for every file under `root` that differs from what the predictions give.

    Raises:
        Refusal: Predictions are missing, one of them or a run is damaged, or a stage fails.
    """
    artifacts, root = root / "artifacts" / protocol, root.resolve()
    missing = [name for name in INPUTS if not (artifacts / name).exists()]
    if missing:
        pull = ", or dvc pull" if _has_remote(root) else ""
        raise Refusal(f"{artifacts / missing[0]}: missing; run: make run{pull}")
    _check_runs(artifacts)
    with tempfile.TemporaryDirectory(prefix="gapwise-verify-") as folder:
        again = Path(folder)
        _recompute(protocol, root, again)
        lines = list(_unrecorded(protocol, root))
        for name in compared_files(protocol, root, again):
            lines += _difference(root / name, again / name)
    return lines


def compared_files(protocol: str, root: Path, again: Path) -> list[Path]:
    """Return the files of a report and of the index, in either place, and the tables again."""
    tables = again / "artifacts" / protocol
    names = {path.relative_to(again) for path in tables.iterdir() if path.is_file()}
    for place in (root, again):
        found = [path for kind in INDEX for path in (place / REPORTS).glob(f"*.{kind}")]
        found += [path for path in (place / REPORTS / protocol).rglob("*") if path.is_file()]
        names |= {path.relative_to(place) for path in found}
    return sorted(name for name in names if name.name not in UNSTABLE)


def _has_remote(root: Path) -> bool:
    """Return whether DVC has a place to pull outputs from."""
    command = [sys.executable, "-m", "dvc", "remote", "list"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=False)
    return listed.returncode == 0 and bool(listed.stdout.strip())


def _check_runs(artifacts: Path) -> None:
    """Check that the files of every run are those of its record.

    Raises:
        Refusal: A file is missing or damaged.
    """
    for phase in ("exploration", "confirmation"):
        for name in read_plan(artifacts / phase).trained():
            checked_record(artifacts / phase / name)


def _unrecorded(protocol: str, root: Path) -> Iterator[str]:
    """Yield a line for every input folder whose checksum is not the one in `dvc.lock`."""
    lock = root / LOCK  # of many protocols, which is longer than settings may be
    stages = parse_yaml(lock.read_text(), lock).get("stages", {}) if lock.exists() else {}
    outs = {
        out["path"]: out["md5"]
        for name, stage in stages.items()
        if name.endswith(f"@{protocol}")
        for out in stage["outs"]
    }
    for name in INPUTS:
        path = f"artifacts/{protocol}/{name}"
        if path in outs and folder_md5(root / path) != outs[path]:
            yield f"{path}: is not what {LOCK} records"


def folder_md5(folder: Path) -> str:
    """Return the checksum DVC gives a folder: that of the sorted list of its files."""
    listed = [
        {
            "md5": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
            "relpath": path.relative_to(folder).as_posix(),
        }
        for path in folder.rglob("*")
        if path.is_file()
    ]
    listed.sort(key=lambda entry: entry["relpath"])
    return (
        hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
        + ".dir"
    )


def _recompute(protocol: str, root: Path, again: Path) -> None:
    artifacts = root / "artifacts" / protocol
    (again / "artifacts" / protocol).mkdir(parents=True)
    for name in INPUTS:
        (again / "artifacts" / protocol / name).symlink_to((artifacts / name).resolve())
    (again / "reports").mkdir()
    for folder in (root / "reports").iterdir():  # the index is made of all reports
        if folder.is_dir() and folder.name != protocol:
            (again / "reports" / folder.name).symlink_to(folder)
    code = str(Path(pipeline.__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": code, "GAPWISE_STORE": str(again / "store")}
    for verb in VERBS:
        command = [sys.executable, "-m", f"pipeline.{verb}", protocol]
        done = subprocess.run(
            command, cwd=again, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise Refusal(f"verify: {verb} of {protocol} failed: {last}")


def _difference(path: Path, other: Path) -> Iterator[str]:
    name = os.path.relpath(path)
    if not path.exists():
        yield f"{name}: missing"
    elif not other.exists():
        yield f"{name}: not among the files the predictions give; remove it"
    elif path.read_bytes() != other.read_bytes():
        yield f"{name}: differs from what the predictions give{_place(path, other)}"


def _place(path: Path, other: Path) -> str:
    """Return where two texts differ first; "" for pictures."""
    if path.suffix == ".png":
        return ""
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in (path, other))
    lines = itertools.zip_longest(*(text.splitlines() for text in texts))
    different = (number for number, (one, two) in enumerate(lines, 1) if one != two)
    number = next(different, None)
    return f", first in line {number}" if number else ""
