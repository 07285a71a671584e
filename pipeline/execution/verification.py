"""Verify a report: plan it again from its settings files and recompute it from its predictions.

The inputs are compared with the checksums in `dvc.lock`, the plan with the ledger; the stages from
choose on run again in a temporary folder. A report without predictions here has its headline
compared with its own tables.
"""

import hashlib
import itertools
import json
import os
import pkgutil
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.parameters import PROTOCOLS, read_parameters
from pipeline.config.plan import read_plan
from pipeline.config.yaml_files import parse_yaml
from pipeline.data.prepared import SUMMARY, pretraining_folder
from pipeline.execution.headlines import headline_differences, index_differences
from pipeline.execution.ledger_history import hidden_entries
from pipeline.execution.record_checks import PHASES, record_differences
from pipeline.execution.stage import Incomplete
from pipeline.records.figures import DRAWN
from pipeline.records.ledger import LEDGER, Planned, changes, read_ledger, run_identities
from pipeline.records.predictions import INDEX
from pipeline.records.reports import is_report
from pipeline.records.runs import RECORD, checked_record, done_records, read_record
from pipeline.runtime.behaviour import PACKAGE
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed, remedy_of

INPUTS = ("data", "exploration", "confirmation", "predictions")
VERBS = ("prepare", "choose", "evaluate", "compare", "report")
STAGES = """
import pkgutil, sys
from pipeline.execution.stage import stage
for verb in sys.argv[2:]:
    code = stage(pkgutil.resolve_name(f"pipeline.{verb}:main"), [sys.argv[1]])
    if code:
        print(verb)
        sys.exit(code)
"""  # in one process: imports take longer than most stages
LOCK = Path("dvc.lock")
UNSTABLE = (  # depend on the wall clock, a server, or whether the figures were drawn here
    *("timing.md", "timing.csv", "tracked.json", DRAWN),
)
REPORTS, ARTIFACTS = Path("reports"), Path("artifacts")
INDEX_KINDS = ("md", "png")  # endings of the page over all reports and of its figure
REPLANNING = "pipeline.execution.replanning:replanning_differences"  # imports torch
RETRAINING = "pipeline.execution.retraining:retraining_differences"
SCORE = "pipeline.evaluation.validation:validation_score"
DECISION = "pipeline.comparison.looks:decide"
CACHE = ".data"  # folder of files that are downloaded or decoded once
LARGEST_SEED = 2**32


@dataclass(frozen=True)
class Options:
    """Additional checks of a report.

    Attributes:
        history: Whether git shows entries of a ledger that the present one lacks.
        retrain: How many random runs are trained again.
        seed: That of their choice; None for a random one.
    """

    history: bool = False
    retrain: int = 0
    seed: int | None = None


def verify(protocols: Sequence[str], options: Options | None = None) -> None:
    """Verify reports: by default those of `params.yaml`, and the headlines of all others.

    Of a protocol of `params.yaml` that cannot be recomputed, as in a fresh clone, the headline is
    verified too, and so are the pages over all reports.

    Args:
        protocols: Names of protocols; empty for the default.
        options: Additional checks.

    Raises:
        Incomplete: A report differs.
        Refusal: A report cannot be recomputed.
    """
    options = options or Options()
    lines: list[str] = []
    refusals: dict[str, Refusal] = {}
    chosen = protocols or read_parameters().protocols
    for protocol in chosen:
        try:
            lines += _verify_whole(protocol, options)
        except Refusal as refusal:
            if protocols:
                raise
            refusals[protocol] = refusal
    if not protocols:
        recomputed = {*chosen} - {*refusals}
        for folder in sorted(REPORTS.glob("*")):
            if folder.name not in recomputed and is_report(folder):
                why = "see below" if folder.name in refusals else "not in params.yaml"
                lines += _verify_headline(folder, options, why)
    if refusals:
        lines += index_differences(REPORTS)
    reasons = [line for refusal in refusals.values() for line in refusal.lines]
    if lines:
        raise Incomplete("\n".join([*lines, *reasons]))
    if reasons:
        raise Refusal(*reasons)


def _verify_whole(protocol: str, options: Options) -> list[str]:
    """Recompute a report, print the result, and return a line for each difference."""
    lines = [*differences(protocol), *_more_differences(protocol, options)]
    print(f"{protocol}: {_count(lines) if lines else 'verified'}")
    return lines


def _verify_headline(folder: Path, options: Options, why: str) -> list[str]:
    """Verify the headline of a report, print the result, and return a line for each difference.

    `why` says why the report is not recomputed.
    """
    lines = headline_differences(folder)
    if options.history and (folder / LEDGER).exists():
        lines += hidden_entries(folder / LEDGER)
    agree = f"its headline agrees with its tables (not recomputed: {why})"
    print(f"{folder.name}: {_count(lines) if lines else agree}")
    return lines


def _count(lines: Sequence[str]) -> str:
    return f"{len(lines)} difference{'s' if len(lines) > 1 else ''}"


def _more_differences(protocol: str, options: Options) -> Iterator[str]:
    """Yield the differences of the checks in the options."""
    if options.history:
        yield from hidden_entries(REPORTS / protocol / LEDGER)
    if options.retrain:
        artifacts = ARTIFACTS / protocol
        seed = secrets.randbelow(LARGEST_SEED) if options.seed is None else options.seed
        identities: dict[str, Any] = {}
        for phase in PHASES:
            names = read_plan(artifacts / phase).trained()
            identities |= run_identities(artifacts / phase, names)
        labels, lines = pkgutil.resolve_name(RETRAINING)(
            artifacts, identities, options.retrain, seed
        )
        print(f"{protocol}: trained again (seed {seed}): {'; '.join(labels)}")
        yield from lines


def differences(protocol: str, root: Path = Path()) -> list[str]:
    """Return one line for everything under `root` that differs from settings and predictions.

    Args:
        protocol: The name of the protocol.
        root: The folder of the project.

    Raises:
        Refusal: Predictions or `dvc.lock` are missing, one of them or a run is corrupted, or a
            stage fails.
    """
    artifacts, root = root / ARTIFACTS / protocol, root.resolve()
    remedy = remedy_of(artifacts)
    missing = [name for name in INPUTS if not (artifacts / name).exists()]
    if missing:
        pull = ", or dvc pull" if _has_remote(root) else ""
        raise Refusal(f"{artifacts / missing[0]}: missing; {remedy}{pull}")
    if not (root / LOCK).exists():
        raise Refusal(f"{LOCK}: missing; it has the checksums of what was trained; {remedy}")
    _check_runs(artifacts)
    lines = [*_unrecorded(protocol, root), *_strays(artifacts), *_replanned(protocol, artifacts)]
    lines += _contradicting(artifacts)
    ledger = REPORTS / protocol / LEDGER
    try:
        entries = read_ledger(root / ledger)
    except Refusal as refusal:  # the front page follows from it
        return [*lines, *refusal.lines]
    try:
        return [*lines, *_recomputed(protocol, root, entries)]
    except Refusal as refusal:
        if not lines:
            raise
        return [*lines, *refusal.lines]


def _recomputed(protocol: str, root: Path, entries: Sequence[Planned]) -> list[str]:
    """Return a line for everything that differs when the stages run again.

    Args:
        protocol: The name of the protocol.
        root: The folder of the project.
        entries: The entries of the ledger.

    Raises:
        Refusal: A stage fails.
    """
    lines = []
    ledger, data = REPORTS / protocol / LEDGER, ARTIFACTS / protocol / "data" / SUMMARY
    with tempfile.TemporaryDirectory(prefix="gapwise-verify-") as folder:
        again = Path(folder)
        _recompute(protocol, root, again)
        if not entries:
            lines.append(f"{ledger}: missing; the next evaluation begins it; {remedy_of(ledger)}")
        else:
            for entry in read_ledger(again / ledger)[len(entries) :]:
                changed = "; ".join(map(str, changes(entries[-1], entry)))
                lines.append(
                    f"{ledger}: its last entry is not the plan of the report: {changed}; "
                    f"{remedy_of(ledger)}"
                )
        if (root / data).read_bytes() != (again / data).read_bytes():
            lines.append(f"{data}: not what the source of the data gives now; {remedy_of(data)}")
        for name in compared_files(protocol, root, again):
            lines += _difference(root / name, again / name)
    return lines


def _replanned(protocol: str, artifacts: Path) -> list[str]:
    """Return a line for everything that is not as the settings files plan it."""
    lines, libraries = pkgutil.resolve_name(REPLANNING)(
        protocol, artifacts, pkgutil.resolve_name(SCORE), pkgutil.resolve_name(DECISION)
    )
    if libraries:
        print(f"note: {protocol}: trained with other versions of libraries: {libraries}")
    return list(lines)


def _contradicting(artifacts: Path) -> list[str]:
    """Return a line for every record and all predictions that do not belong to their run."""
    try:
        return list(record_differences(artifacts))
    except Refusal as refusal:
        return list(refusal.lines)


def compared_files(protocol: str, root: Path, again: Path) -> list[Path]:
    """Return the files of a report and of the index, and the tables, in either of two folders.

    Args:
        protocol: The name of the protocol.
        root: The folder of the project.
        again: The folder in which the stages ran again.

    Returns:
        Sorted paths relative to either folder.
    """
    names: set[Path] = set()
    for place in (root, again):
        reports = place / REPORTS
        paths = [*(place / ARTIFACTS / protocol).glob("[!.]*"), *(reports / protocol).rglob("*")]
        files = [path for path in paths if path.is_file()]
        for kind in INDEX_KINDS:
            files += reports.glob(f"*.{kind}")
        names |= {path.relative_to(place) for path in files}
    return sorted(name for name in names if name.name not in (*UNSTABLE, LEDGER))


def _strays(artifacts: Path) -> Iterator[str]:
    """Yield a line for everything in the artifacts that no stage reads or writes."""
    for folder in sorted(artifacts.parent.glob("[!.]*")):
        if not (artifacts.parents[1] / PROTOCOLS / f"{folder.name}.yaml").exists():
            yield f"{folder}: no protocol has this name; remove it"
    expected = {
        "data": set(_data_files(artifacts / "data")),
        **{phase: {"plan.json", *_run_files(artifacts / phase)} for phase in PHASES},
        "predictions": {INDEX, *_predicted_files(artifacts)},
    }
    for folder in sorted(path for path in artifacts.glob("[!.]*") if path.is_dir()):
        files = {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        }
        for name in sorted(files - expected.get(folder.name, set())):
            yield f"{folder / name}: no stage wrote it; remove it"


def _data_files(data: Path) -> Iterator[str]:
    """Yield the files of prepared data, including the data of pretrainings."""
    summary = read_sealed(data / SUMMARY)
    yield from (SUMMARY, *summary["files"])
    for name in summary.get("pretraining", {}):
        pool = pretraining_folder(data, name)
        for file in _data_files(pool):
            yield (pool / file).relative_to(data).as_posix()


def _run_files(phase: Path) -> Iterator[str]:
    """Yield the files of all runs of a phase, as their records name them."""
    for name in read_plan(phase).trained():
        record = read_record(phase / name)
        for file in (RECORD, *record["files"]) if record else ():
            yield f"{name}/{file}"


def _predicted_files(artifacts: Path) -> Iterator[str]:
    """Yield the files of the predictions of the confirmation runs that are done."""
    phase = artifacts / "confirmation"
    for name in done_records(phase, read_plan(phase).fingerprints()):
        yield f"{name}.safetensors"


def _has_remote(root: Path) -> bool:
    """Return whether DVC has a place to pull outputs from."""
    command = [sys.executable, "-m", "dvc", "remote", "list"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=False)
    return listed.returncode == 0 and bool(listed.stdout.strip())


def _check_runs(artifacts: Path) -> None:
    """Check that the files of every run agree with its record.

    Raises:
        Refusal: A file is missing or corrupted.
    """
    for phase in ("exploration", "confirmation"):
        for name in read_plan(artifacts / phase).trained():
            checked_record(artifacts / phase / name)


def _unrecorded(protocol: str, root: Path) -> Iterator[str]:
    """Yield a line for every input folder whose checksum is not the one in `dvc.lock`."""
    lock = root / LOCK  # of many protocols, which is longer than settings may be
    stages = parse_yaml(lock.read_text(), lock).get("stages", {})
    outs = {
        out["path"]: out["md5"]
        for name, stage in stages.items()
        if name.endswith(f"@{protocol}")
        for out in stage["outs"]
    }
    for name in INPUTS:
        path = f"{ARTIFACTS}/{protocol}/{name}"
        if path not in outs:
            yield f"{path}: {LOCK} does not record it; {remedy_of(Path(path))}"
        elif folder_md5(root / path) != outs[path]:
            yield f"{path}: is not what {LOCK} records; {remedy_of(Path(path))}"


def folder_md5(folder: Path) -> str:
    """Return DVC's checksum of a folder: the checksum of the sorted list of its files.

    Args:
        folder: A folder that DVC tracks.
    """
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
    """Run the stages of `VERBS` again, in a folder with links to their inputs.

    Raises:
        Refusal: A stage fails.
    """
    _link_inputs(protocol, root, again)
    environment = os.environ | {
        "PYTHONPATH": str(PACKAGE.parent),
        "GAPWISE_STORE": str(again / "store"),
    }
    command = [sys.executable, "-c", STAGES, protocol, *VERBS]
    process = subprocess.run(
        command, cwd=again, env=environment, capture_output=True, text=True, check=False
    )
    if process.returncode:
        verb = (process.stdout.strip() or "a stage").splitlines()[-1]
        last = (process.stderr.strip() or "no message").splitlines()[-1]
        raise Refusal(f"verify: {verb} of {protocol} failed: {last}")


def _link_inputs(protocol: str, root: Path, again: Path) -> None:
    """Make a folder that has the inputs of the stages of a protocol, and no report of it.

    The ledger is copied, since the evaluation adds to it.
    """
    artifacts = ARTIFACTS / protocol
    (again / artifacts).mkdir(parents=True)
    for name in INPUTS:
        (again / artifacts / name).symlink_to((root / artifacts / name).resolve())
    (again / REPORTS / protocol).mkdir(parents=True)
    ledger = REPORTS / protocol / LEDGER
    if (root / ledger).exists():
        (again / ledger).write_bytes((root / ledger).read_bytes())
    for folder in (root / REPORTS).iterdir():  # the index is made of all reports
        if folder.is_dir() and folder.name != protocol:
            (again / REPORTS / folder.name).symlink_to(folder)
    made_again = {ARTIFACTS.name, REPORTS.name, PACKAGE.name}
    for path in root.iterdir():  # settings, data and networks of the project
        is_visible = path.name == CACHE or not path.name.startswith(".")
        if is_visible and path.name not in made_again:
            (again / path.name).symlink_to(path)


def _difference(path: Path, other: Path) -> Iterator[str]:
    name = os.path.relpath(path)
    if not path.exists():
        yield f"{name}: missing"
    elif not other.exists():
        yield f"{name}: not among the files the predictions give; remove it"
    elif path.read_bytes() != other.read_bytes():
        yield f"{name}: differs from what the predictions give{_place(path, other)}"


def _place(path: Path, other: Path) -> str:
    """Return the first place where two texts differ; "" for images."""
    if path.suffix == ".png":
        return ""
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in (path, other))
    lines = itertools.zip_longest(*(text.splitlines() for text in texts))
    different = (number for number, (one, two) in enumerate(lines, 1) if one != two)
    number = next(different, None)
    return f", first in line {number}" if number else ""
