"""Run DVC: bring every stage up to date, pass Control-C on, and train failed runs again."""

import itertools
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.plan import Phase, last_plan
from pipeline.data.weights import weights_digest
from pipeline.execution.chosen_protocols import named_in_parameters
from pipeline.execution.dvc_lock import keep_dvc_lock, release_dead_locks, repair_dvc_lock
from pipeline.execution.stage import KEEP_GOING, Incomplete
from pipeline.records.store import Store, open_store
from pipeline.runtime.errors import Refusal
from pipeline.runtime.locks import exclusive_lock
from pipeline.runtime.signals import end_with_parent
from pipeline.runtime.stage_times import clear_stage_times, read_stage_times

ARTIFACTS = Path("artifacts")
DVC = (sys.executable, "-m", "pipeline.execution.dvc_process", "--wait-for-lock")
END_SECONDS = 10.0  # that DVC may take to end after Control-C
VERBS: dict[Phase, str] = {"exploration": "train", "confirmation": "confirm"}


def reproduce(protocols: Sequence[str], keep_going: bool) -> dict[str, float]:
    """Bring every stage of the protocols up to date.

    Args:
        protocols: Names of protocols, which `params.yaml` need not have.
        keep_going: Whether failed runs leave the report without them.

    Returns:
        The seconds of each stage that was not up to date, by the name that DVC gives it.

    Raises:
        Refusal: Another run is in progress.
        Incomplete: A stage failed.
        KeyboardInterrupt: Control-C was pressed; DVC has ended.
    """
    with exclusive_lock(), named_in_parameters(protocols):
        environment = os.environ | clear_stage_times()
        environment |= {KEEP_GOING: "1"} if keep_going else {}
        release_dead_locks()
        repaired = repair_dvc_lock()
        if repaired:
            print(repaired)
        open_store().restore(phase_folders(protocols))
        _retry_failed(protocols, environment)
        run_dvc(["repro"], environment)
        if not keep_going and _retry_failed(protocols, environment):  # restored from DVC's cache
            run_dvc(["repro"], environment)
        keep_dvc_lock()
        return read_stage_times()


def phase_folders(protocols: Sequence[str]) -> list[Path]:
    """Return the folders of both phases of the protocols.

    Args:
        protocols: Names of protocols.
    """
    return [ARTIFACTS / name / phase for name in protocols for phase in VERBS]


def _retry_failed(protocols: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Force phases with failed runs, or runs from a file of weights that has changed since.

    DVC takes them for done.

    Returns:
        Whether there were any.
    """
    store, retried = open_store(), False
    for name, (phase, verb) in itertools.product(protocols, VERBS.items()):
        plan = last_plan(ARTIFACTS / name / phase)
        if plan and any(_is_to_retry(store, run) for run in plan.trained()):
            retried = True
            run_dvc(["repro", "--single-item", "--force", f"{verb}@{name}"], environment)
    return retried


def _is_to_retry(store: Store, fingerprint: str) -> bool:
    return store.state(fingerprint) in ("failed", "missing") or has_other_weights(
        store.identity(fingerprint)
    )


def has_other_weights(identity: Mapping[str, Any]) -> bool:
    """Return whether the file of weights from which a run started has another content now.

    Args:
        identity: What the run was trained from. False of a run without such a file, and where it is
            no longer there: what was trained from it is enough.
    """
    if "weights" not in identity:
        return False
    try:
        return bool(weights_digest(identity["model"]["weights"]) != identity["weights"])
    except Refusal:
        return False


def run_dvc(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a command of DVC; its stages find this interpreter as `python`, activated or not.

    Args:
        words: The command and its arguments, such as `["repro"]`.
        environment: The environment variables of DVC and its stages.

    Raises:
        Incomplete: It failed.
        KeyboardInterrupt: Control-C was pressed; DVC has ended.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    process = subprocess.Popen(
        [*DVC, *words], env={**environment, "PATH": path}, preexec_fn=end_with_parent
    )
    try:
        process.wait()
    except KeyboardInterrupt:
        _end(process)
        print("interrupted; finished runs are kept: run again to continue")
        raise
    if process.returncode:
        raise Incomplete(
            "the run stopped before its report; finished runs are kept: "
            "fix the errors above and run again"
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for DVC, which Control-C usually reaches too, to put its files in order.

    It is terminated if it takes too long.
    """
    while process.poll() is None:
        try:
            process.wait(END_SECONDS)
        except KeyboardInterrupt:
            continue
        except subprocess.TimeoutExpired:
            process.terminate()
