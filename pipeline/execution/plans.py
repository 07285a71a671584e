"""Store the current plan of each phase, with digests of the inputs it was made from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pipeline.config.plan import Phase, Plan, last_plan
from pipeline.config.validation import checked
from pipeline.execution.inputs import changed_inputs, input_digests
from pipeline.records.store import Store
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed, write_sealed
from pipeline.runtime.project import original

ARTIFACTS = Path("artifacts")


def write_current_plan(store: Store, plan: Plan) -> None:
    """Store the plan of a phase before its runs are trained, unless it is an experiment's.

    Args:
        store: The run store.
        plan: The plan of the phase.
    """
    if original() == Path.cwd():
        _write(store, plan, input_digests())


def keep_current_plans(store: Store, protocol: str) -> None:
    """Store the plans of a finished run with the present inputs, which are up to date.

    Args:
        store: The run store.
        protocol: The name of the protocol.
    """
    if original() != Path.cwd():
        return
    inputs = input_digests()
    for phase in get_args(Phase):
        plan = last_plan(ARTIFACTS / protocol / phase)
        if plan:
            _write(store, plan, inputs)


def forget_current_plans(store: Store) -> None:
    """Delete the stored plans of the last run, so that the plans in the artifacts are used.

    Args:
        store: The run store.
    """
    for path in (store.root / "plans").glob("*.json"):
        path.unlink()


def read_current_plan(store: Store, protocol: str, phase: Phase) -> tuple[Plan | None, list[str]]:
    """Return the plan of a phase and the names of the inputs that have changed since.

    Where the store has none, as after `dvc pull`, it is the plan in the artifacts, if any.

    Args:
        store: The run store.
        protocol: The name of the protocol.
        phase: exploration or confirmation.
    """
    return _stored_plan(store, protocol, phase) or (last_plan(ARTIFACTS / protocol / phase), [])


def current_plans(store: Store, protocol: str) -> list[Plan]:
    """Return the plans of both phases, exploration first; empty if an input has changed since.

    There are also none if a plan is found in the artifacts only, since its inputs are unknown, or
    if the network is the user's own or has pretrained weights, since these files are not inputs.
    The settings of a protocol with current plans are valid: each plan was made from them.

    Args:
        store: The run store.
        protocol: The name of the protocol.
    """
    stored = [_stored_plan(store, protocol, phase) for phase in get_args(Phase)]
    current = [plan for plan, changed in filter(None, stored) if not changed]
    reads_more = any(reads_other_files(plan.settings["model"]) for plan in current)
    return current if len(current) == len(stored) and not reads_more else []


def _stored_plan(store: Store, protocol: str, phase: Phase) -> tuple[Plan, list[str]] | None:
    """Return the plan of a phase in the store and the changed inputs; None if there is none."""
    path = _path(store, protocol, phase)
    try:
        document = read_sealed(path)
        return checked(Plan, document["plan"], path), changed_inputs(document["inputs"], protocol)
    except Refusal:
        return None


def reads_other_files(model: Mapping[str, Any]) -> bool:
    """Return whether runs of a model depend on files that are not inputs of a stage.

    These are the code of a network of the user's own, and files of pretrained weights.

    Args:
        model: The settings of a network.
    """
    return "import" in model or model.get("weights") is not None


def _write(store: Store, plan: Plan, inputs: dict[str, str]) -> None:
    path = _path(store, plan.protocol, plan.phase)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, {"plan": plan.model_dump(mode="json"), "inputs": inputs})


def _path(store: Store, protocol: str, phase: str) -> Path:
    return store.root / "plans" / f"{protocol}.{phase}.json"
