"""Recomputes a report from its predictions in a temporary folder, and tells where it differs from the one at hand.

What went in is held against `dvc.lock`, where that names it. Separate from the report, which is one of the stages that
are run again: choose, evaluate, compare, report.
"""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pipeline
from pipeline.config.plan import read_plan
from pipeline.config.yaml_files import read_yaml
from pipeline.records.store import checked_record
from pipeline.runtime.errors import Refusal

INPUTS = ("data", "exploration", "confirmation", "predictions")
VERBS = ("choose", "evaluate", "compare", "report")
LOCK = Path("dvc.lock")
UNSTABLE = (
    "timing.md",
    "timing.csv",
    "tracked.json",
)  # the wall clock, and what is known to a server
INDEX = Path("reports", "README.md")


def differences(protocol: str, root: Path = Path()) -> list[str]:
    """One line for every file under `root` that is not what the predictions of a protocol give; none where all agree.

    Raises Refusal where there are no predictions, where one or a run is damaged, or where a stage fails.
    """
    artifacts, root = root / "artifacts" / protocol, root.resolve()
    missing = [name for name in INPUTS if not (artifacts / name).exists()]
    if missing:
        raise Refusal(
            f"{artifacts / missing[0]}: missing; needed to verify are the predictions: make run, or dvc pull"
        )
    _check_runs(artifacts)
    with tempfile.TemporaryDirectory(prefix="gapwise-verify-") as folder:
        again = Path(folder)
        _recompute(protocol, root, again)
        own, other = (place / "artifacts" / protocol for place in (root, again))
        tables = {path.name for path in other.iterdir() if path.is_file() and not path.is_symlink()}
        found = [
            *_unrecorded(protocol, root),
            *_tables(own, other, tables),
            *_tree(root / "reports" / protocol, again / "reports" / protocol),
        ]
        listed = (again / INDEX).read_text().splitlines()[-1]
        index = root / INDEX
        if listed not in (index.read_text().splitlines() if index.exists() else ()):
            found.append(f"{INDEX}: does not hold the headline of {protocol}")
    return found


def _check_runs(artifacts: Path) -> None:
    """Raises Refusal for a run whose files are not those of its record."""
    for phase in ("exploration", "confirmation"):
        for name in read_plan(artifacts / phase).fingerprints():
            checked_record(artifacts / phase / name)


def _unrecorded(protocol: str, root: Path) -> Iterator[str]:
    """A line for every folder that went in and is not the one whose checksum is in `dvc.lock`."""
    stages = read_yaml(root / LOCK).get("stages", {}) if (root / LOCK).exists() else {}
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
    """The checksum that DVC gives a folder: of the list of its files by name, each with its own."""
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
    given = root / "artifacts" / protocol
    (again / "artifacts" / protocol).mkdir(parents=True)
    for name in INPUTS:
        (again / "artifacts" / protocol / name).symlink_to((given / name).resolve())
    code = str(Path(pipeline.__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": code, "GAPWISE_STORE": str(again / "store")}
    for verb in VERBS:
        command = [sys.executable, "-m", f"pipeline.{verb}", protocol]
        done = subprocess.run(
            command, cwd=again, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Refusal(
                f"verify: {verb} of {protocol} failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}"
            )


def _tables(own: Path, other: Path, names: set[str]) -> Iterator[str]:
    for name in sorted(names.difference(UNSTABLE)):
        yield from _compared(own / name, other / name)


def _tree(own: Path, other: Path) -> Iterator[str]:
    """Compares two folders with all that is in them, whichever has it."""
    names = {
        path.relative_to(place)
        for place in (own, other)
        for path in place.rglob("*")
        if path.is_file()
    }
    for name in sorted(name for name in names if name.name not in UNSTABLE):
        yield from _compared(own / name, other / name)


def _compared(own: Path, other: Path) -> Iterator[str]:
    name = os.path.relpath(own)
    if not own.exists():
        yield f"{name}: missing"
    elif not other.exists():
        yield f"{name}: is no part of what the predictions give; remove it"
    elif own.read_bytes() != other.read_bytes():
        yield f"{name}: differs from what the predictions give{_place(own, other)}"


def _place(own: Path, other: Path) -> str:
    """Where two texts differ first; nothing for pictures."""
    if own.suffix == ".png":
        return ""
    lines = (
        path.read_text(encoding="utf-8", errors="replace").splitlines() for path in (own, other)
    )
    pairs = itertools.zip_longest(*lines)
    return next(
        (f", first in line {number}" for number, (one, two) in enumerate(pairs, 1) if one != two),
        "",
    )
