"""Train random runs of a finished protocol again, predict with them, and compare.

On the same kind of machine every bit is the same. On another one the last validation accuracy may
be anywhere within the spread of the seeds of its arm, and predictions differ by rounding.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.parameters import read_parameters
from pipeline.config.plan import Plan, PlannedRun, read_plan
from pipeline.data.prepared import pretraining_folder
from pipeline.execution.failures import run_labels
from pipeline.execution.record_checks import PHASES, is_near
from pipeline.execution.scheduler import finish
from pipeline.records.predictions import (
    INDEX,
    Predictions,
    read_predictions,
    require_predictions,
    seal_predictions,
)
from pipeline.records.runs import read_history, read_record
from pipeline.records.store import Store
from pipeline.records.unchanged import WEIGHTS
from pipeline.runtime.files import CHECKSUM, read_sealed

TRAINING = "pipeline.execution.devices:perform"
PREDICTION = "pipeline.prediction.job:run_prediction"
WRITTEN = ("fingerprint", "state", "reason", "files", "machine", CHECKSUM)  # looked at otherwise
CURE = "was changed after training; remove the folder of its phase and run: make run"

Identities = Mapping[str, Mapping[str, Any]]


def retraining_differences(
    artifacts: Path, identities: Identities, count: int, seed: int
) -> tuple[list[str], list[str]]:
    """Train some runs of both phases again in a temporary folder and compare.

    Args:
        artifacts: The folder of the protocol's artifacts.
        identities: What is trained in each run, by fingerprint.
        count: The number of runs.
        seed: That of the choice of runs.

    Returns:
        The labels of the runs, and a line for each difference.
    """
    artifacts = artifacts.absolute()
    plans = {phase: read_plan(artifacts / phase) for phase in PHASES}
    phases = {name: phase for phase, plan in plans.items() for name in plan.trained()}
    chosen = _chosen([name for name in phases if name in identities], count, seed)
    labels = {name: f"{phases[name]}: {run_labels(plans[phases[name]])[name]}" for name in chosen}
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="gapwise-verify-") as place:
        folder = Path(place)
        jobs = []
        for name in chosen:
            plan = plans[phases[name]]
            jobs.append(_job(artifacts, folder / name, name, plan, identities[name]))
        settings = read_parameters().execution
        failed = finish(jobs, TRAINING, settings, "training again", [folder, artifacts])
        for name, outcome in failed.items():
            Store(folder / name).write_failure(name, outcome["reason"])
        for name in chosen:
            stored, plan = artifacts / phases[name], plans[phases[name]]
            lines += _differences(stored, folder / name / name, name, plan, labels[name])
        tested = [name for name in chosen if _is_tested(artifacts, phases[name], name)]
        lines += _predicted_differences(artifacts, folder, plans["confirmation"], tested)
    return [*labels.values()], lines


def _chosen(names: list[str], count: int, seed: int) -> list[str]:
    """Return some runs in random order, whatever the order of all."""
    ordered = sorted(names)
    places = np.random.default_rng(seed).permutation(len(ordered))
    return [ordered[place] for place in places[:count]]


def _is_tested(artifacts: Path, phase: str, name: str) -> bool:
    """Return whether a run has predictions on the test set."""
    return phase == "confirmation" and _state(artifacts / phase / name) == "done"


def _job(
    artifacts: Path, root: Path, name: str, plan: Plan, identity: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the job of one run, with a store of its own that has the weights it starts from."""
    root.mkdir()
    starts = {start.fingerprint: start.data for start in plan.starts}
    data = artifacts / "data"
    if starts.get(name):
        data = pretraining_folder(data, starts[name])
    if parent := identity.get("starts_from"):
        (root / parent).symlink_to(artifacts / plan.phase / parent)
    return {
        "id": name,
        "identity": identity,
        "logger": None,
        "data": str(data),
        "store": str(root),
        "hardware": read_parameters().execution.hardware(),
    }


def _differences(stored: Path, again: Path, name: str, plan: Plan, label: str) -> Iterator[str]:
    """Yield a line where a run ended in another way than its record says."""
    before, after = read_record(stored / name) or {}, read_record(again) or {}
    place = f"{_shown(stored / name)} ({label})"
    if before.get("state") != after.get("state"):
        yield (
            f"{place}: {before.get('state', 'missing')}, but {after.get('state', 'missing')} when "
            f"trained again; it {CURE}"
        )
        return
    keys = before.keys() | after.keys()
    values = sorted(key for key in keys - {*WRITTEN} if before.get(key) != after.get(key))
    if before["machine"] == after["machine"]:
        files, files_again = before["files"], after["files"]
        names = sorted(files.keys() | files_again.keys())
        changed = [file for file in names if files.get(file) != files_again.get(file)]
        differing = [*changed, *values]
        if differing:
            yield f"{place}: {differing[0]} has other bits when trained again; it {CURE}"
        return
    if before["state"] != "done":
        return
    if before["files"].get(WEIGHTS) == after["files"].get(WEIGHTS):
        yield f"{place}: of another kind of machine, but with the bits of this one; it {CURE}"
        return
    if before["cost"] != after["cost"]:
        yield f"{place}: cost is another one when trained again; it {CURE}"
    yield from _beyond_spread(stored, again, name, plan, place)


def _beyond_spread(stored: Path, again: Path, name: str, plan: Plan, place: str) -> Iterator[str]:
    """Yield a line where validation accuracy differs by more than the seeds of the arm do."""
    before, after = _accuracy(stored / name), _accuracy(again)
    of_others = []
    for other in _other_seeds(plan, name):
        accuracy = _accuracy(stored / other)
        if accuracy is not None:
            of_others.append(accuracy)
    if not of_others or before is None or after is None:
        return
    accuracies = [*of_others, after]  # without what is in question
    spread = max(accuracies) - min(accuracies)
    if abs(after - before) > spread:
        yield (
            f"{place}: validation accuracy {before:.4f}, but {after:.4f} when trained again on "
            f"another kind of machine; the seeds of this arm differ by {spread:.4f}; it {CURE}"
        )


def _other_seeds(plan: Plan, name: str) -> set[str]:
    """Return the runs of the same trial as a run, at other seeds."""

    def trial(run: PlannedRun) -> tuple[Any, ...]:
        return run.study, run.arm, run.setting, run.budget

    run = next((run for run in plan.runs if run.fingerprint == name), None)
    if run is None:
        return set()
    same_trial = {other.fingerprint for other in plan.runs if trial(other) == trial(run)}
    return same_trial - {name}


def _accuracy(run: Path) -> float | None:
    """Return the last validation accuracy of the curve of a run, None for one without."""
    values = [row["accuracy"] for row in read_history(run) if row["split"] == "validation"]
    return float(values[-1]) if values else None


def _predicted_differences(
    artifacts: Path, folder: Path, plan: Plan, names: list[str]
) -> Iterator[str]:
    """Yield a line for every run whose stored predictions are not those of its stored weights."""
    if not names:
        return
    target, execution = folder / "predictions", read_parameters().execution
    target.mkdir()
    jobs = [
        {
            "id": name,
            "viewed": name in plan.grouped(),
            "folder": str(artifacts),
            "target": str(target),
            "accelerator": execution.accelerator,
        }
        for name in names
    ]
    failed = finish(jobs, PREDICTION, execution, "predicting again", [artifacts])
    for name, outcome in failed.items():
        yield f"{_shown(artifacts / 'predictions')}: {name}: {outcome['reason']}"
    seal_predictions(target)
    digests = require_predictions(artifacts / "predictions", names)
    files = read_sealed(target / INDEX)["files"]
    for name in names:
        if name in failed:
            continue
        digest_again = files[f"{name}.safetensors"]
        before = read_predictions(artifacts / "predictions", name, digests[name])
        again = read_predictions(target, name, digest_again)
        if digests[name] != digest_again and not _are_near(before, again):
            yield (
                f"{_shown(artifacts / 'predictions')}: {name}: not what its weights predict; "
                "remove the folder and run: make run"
            )


def _are_near(one: Predictions, other: Predictions) -> bool:
    """Return whether predictions differ by rounding alone."""
    if one.logits.keys() != other.logits.keys() or one.examples != other.examples:
        return False
    for split, labels in one.labels.items():
        if not np.array_equal(labels, other.labels[split]):
            return False
    return all(is_near(logits, other.logits[view]) for view, logits in one.logits.items())


def _state(run: Path) -> str:
    return str((read_record(run) or {}).get("state", "missing"))


def _shown(path: Path) -> Path:
    """Return a path as it is from the current folder, if it is in it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
