"""Store the current plan of each phase, with digests of the inputs it was made from."""

from pathlib import Path
from typing import get_args

from pipeline.config.plan import Phase, Plan, last_plan
from pipeline.config.validation import checked
from pipeline.execution.inputs import changed_inputs, input_digests
from pipeline.records.store import Store
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed, write_sealed

ARTIFACTS = Path("artifacts")


def write_current_plan(store: Store, plan: Plan) -> None:
    """Store the plan of a phase before its runs are trained."""
    path = _path(store, plan.protocol, plan.phase)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, {"plan": plan.model_dump(mode="json"), "inputs": input_digests()})


def read_current_plan(store: Store, protocol: str, phase: Phase) -> tuple[Plan | None, list[str]]:
    """Return the plan of a phase and the names of the inputs that have changed since.

    Where the store has none, as after `dvc pull`, it is the plan in the artifacts, if any.
    """
    path = _path(store, protocol, phase)
    try:
        document = read_sealed(path)
        return checked(Plan, document["plan"], path), changed_inputs(document["inputs"])
    except Refusal:
        return last_plan(ARTIFACTS / protocol / phase), []


def is_current(store: Store, protocol: str) -> bool:
    """Return whether both phases are planned and no input has changed since.

    The settings of such a protocol are valid: each plan was made from them.
    """
    plans = [read_current_plan(store, protocol, phase) for phase in get_args(Phase)]
    return all(plan and not changed for plan, changed in plans)


def _path(store: Store, protocol: str, phase: str) -> Path:
    return store.root / "plans" / f"{protocol}.{phase}.json"
