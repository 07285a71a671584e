"""Train random runs of a finished protocol again, predict with them, and compare.

On the same kind of machine every bit is the same. On another kind the last validation accuracy may
be anywhere within the spread of the seeds of its arm, and predictions differ by rounding.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.parameters import read_parameters
from pipeline.config.plan import Plan, PlannedRun, read_plan
from pipeline.data.prepared import pretraining_folder
from pipeline.execution.failures import run_labels
from pipeline.execution.jobs import Outcome
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
from pipeline.runtime.files import CHECKSUM, read_sealed, remedy_of

TRAINING = "pipeline.execution.devices:train_on_devices"
PREDICTION = "pipeline.prediction.job:run_prediction"
COMPARED_ELSEWHERE = ("fingerprint", "state", "reason", "files", "machine", CHECKSUM)

Identities = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class _Rerun:
    """A finished run, and where it is trained again.

    Attributes:
        name: Its fingerprint.
        plan: The plan that has it.
        stored: Its folder among the artifacts.
        store: The store for its second training.
    """

    name: str
    plan: Plan
    stored: Path
    store: Path

    @property
    def repeated(self) -> Path:
        """The folder of the second training."""
        return self.store / self.name

    @property
    def cure(self) -> str:
        """The end of the line for a run that differs."""
        remedy = remedy_of(self.stored)
        return f"was changed after training; remove the folder of its phase and {remedy}"

    @property
    def label(self) -> str:
        """The phase, study, arm and seed of the run."""
        return f"{self.plan.phase}: {run_labels(self.plan)[self.name]}"

    @property
    def place(self) -> str:
        """The folder of the stored run with its label, for a line about a difference."""
        return f"{_relative(self.stored)} ({self.label})"


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
    plans = [read_plan(artifacts / phase) for phase in PHASES]
    plan_of = {name: plan for plan in plans for name in plan.trained()}
    names = _chosen([name for name in plan_of if name in identities], count, seed)
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="gapwise-verify-") as place:
        folder = Path(place)
        reruns = []
        for name in names:
            stored = artifacts / plan_of[name].phase / name
            reruns.append(_Rerun(name, plan_of[name], stored, folder / name))
        _train(reruns, artifacts, folder, identities)
        for rerun in reruns:
            lines += _differences(rerun)
        lines += _predicted_differences(
            artifacts, folder, [run for run in reruns if _is_tested(run)]
        )
    return [rerun.label for rerun in reruns], lines


def _chosen(names: list[str], count: int, seed: int) -> list[str]:
    """Return some runs in random order, independent of the order of `names`."""
    ordered = sorted(names)
    places = np.random.default_rng(seed).permutation(len(ordered))
    return [ordered[place] for place in places[:count]]


def _is_tested(rerun: _Rerun) -> bool:
    """Return whether a run has predictions on the test set."""
    return rerun.plan.phase == "confirmation" and _state(rerun.stored) == "done"


def _train(reruns: Sequence[_Rerun], artifacts: Path, folder: Path, identities: Identities) -> None:
    """Train runs again, each in its own store below `folder`; a failure is recorded there."""
    jobs = [_job(rerun, artifacts, identities[rerun.name]) for rerun in reruns]
    execution = read_parameters().execution
    failures = finish(jobs, TRAINING, execution, "training again", [folder, artifacts])
    for name, outcome in failures.items():
        Store(folder / name).write_failure(name, outcome["reason"])


def _job(rerun: _Rerun, artifacts: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job of one run; its store gets a link to the run whose weights it starts from."""
    rerun.store.mkdir()
    if parent := identity.get("starts_from"):
        (rerun.store / parent).symlink_to(artifacts / rerun.plan.phase / parent)
    data = artifacts / "data"
    pretraining = {start.fingerprint: start.data for start in rerun.plan.starts}
    if pretraining.get(rerun.name):
        data = pretraining_folder(data, pretraining[rerun.name])
    return {
        "id": rerun.name,
        "identity": identity,
        "logger": None,
        "data": str(data),
        "store": str(rerun.store),
        "hardware": read_parameters().execution.hardware(),
    }


def _differences(rerun: _Rerun) -> Iterator[str]:
    """Yield a line for each difference between the end of a run and its record."""
    before = read_record(rerun.stored) or {}
    after = read_record(rerun.repeated) or {}
    state, state_after = before.get("state"), after.get("state")
    if state != state_after:
        yield (
            f"{rerun.place}: {state or 'missing'}, but {state_after or 'missing'} when trained "
            f"again; it {rerun.cure}"
        )
    elif before["machine"] == after["machine"]:
        yield from _different_bits(rerun, before, after)
    elif state == "done":
        yield from _beyond_rounding(rerun, before, after)


def _different_bits(
    rerun: _Rerun, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a line if two records of the same kind of machine differ, with the first difference."""
    files = _different_keys(before["files"], after["files"])
    values = [key for key in _different_keys(before, after) if key not in COMPARED_ELSEWHERE]
    for item in [*files, *values][:1]:
        yield f"{rerun.place}: {item} has other bits when trained again; it {rerun.cure}"


def _different_keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the keys with different values, or in only one of the two, sorted."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def _beyond_rounding(
    rerun: _Rerun, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[str]:
    """Yield lines where records of two kinds of machines differ by more than rounding explains."""
    if before["files"].get(WEIGHTS) == after["files"].get(WEIGHTS):
        yield (
            f"{rerun.place}: of another kind of machine, but with the bits of this one; "
            f"it {rerun.cure}"
        )
        return
    if before["cost"] != after["cost"]:
        yield f"{rerun.place}: cost is another one when trained again; it {rerun.cure}"
    yield from _beyond_spread(rerun)


def _beyond_spread(rerun: _Rerun) -> Iterator[str]:
    """Yield a line where validation accuracy differs by more than the seeds of the arm do."""
    before, after = _accuracy(rerun.stored), _accuracy(rerun.repeated)
    of_others = []
    for other in _other_seeds(rerun.plan, rerun.name):
        accuracy = _accuracy(rerun.stored.parent / other)
        if accuracy is not None:
            of_others.append(accuracy)
    if not of_others or before is None or after is None:
        return
    accuracies = [*of_others, after]  # without `before`, which is in question
    spread = max(accuracies) - min(accuracies)
    if abs(after - before) > spread:
        yield (
            f"{rerun.place}: validation accuracy {before:.4f}, but {after:.4f} when trained again "
            f"on another kind of machine; the seeds of this arm differ by {spread:.4f}; "
            f"it {rerun.cure}"
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
    """Return the last validation accuracy of the curve of a run; None without a curve."""
    values = [row["accuracy"] for row in read_history(run) if row["split"] == "validation"]
    return float(values[-1]) if values else None


def _predicted_differences(
    artifacts: Path, folder: Path, reruns: Sequence[_Rerun]
) -> Iterator[str]:
    """Yield a line for every run whose stored predictions do not follow from its stored weights."""
    if not reruns:
        return
    stored, repeated = artifacts / "predictions", folder / "predictions"
    failures = _predict(artifacts, repeated, reruns)
    for name, outcome in failures.items():
        yield f"{_relative(stored)}: {name}: {outcome['reason']}"
    digests = require_predictions(stored, [rerun.name for rerun in reruns])
    digests_again = read_sealed(repeated / INDEX)["files"]
    for name in digests:
        if name in failures:
            continue
        digest, digest_again = digests[name], digests_again[f"{name}.safetensors"]
        before = read_predictions(stored, name, digest)
        after = read_predictions(repeated, name, digest_again)
        if digest != digest_again and not _are_near(before, after):
            yield (
                f"{_relative(stored)}: {name}: not what its weights predict; "
                f"remove the folder and {remedy_of(stored)}"
            )


def _predict(artifacts: Path, target: Path, reruns: Sequence[_Rerun]) -> Mapping[str, Outcome]:
    """Predict with the stored weights of runs into the folder `target`; return the failures."""
    execution = read_parameters().execution
    target.mkdir()
    jobs = [
        {
            "id": rerun.name,
            "viewed": rerun.name in rerun.plan.grouped(),
            "folder": str(artifacts),
            "target": str(target),
            "accelerator": execution.accelerator,
        }
        for rerun in reruns
    ]
    failures = finish(jobs, PREDICTION, execution, "predicting again", [artifacts])
    seal_predictions(target)
    return failures


def _are_near(one: Predictions, other: Predictions) -> bool:
    """Return whether predictions differ by rounding only."""
    if one.logits.keys() != other.logits.keys() or one.examples != other.examples:
        return False
    for split, labels in one.labels.items():
        if not np.array_equal(labels, other.labels[split]):
            return False
    return all(is_near(logits, other.logits[view]) for view, logits in one.logits.items())


def _state(run: Path) -> str:
    return str((read_record(run) or {}).get("state", "missing"))


def _relative(path: Path) -> Path:
    """Return a path relative to the current folder, if it is inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
