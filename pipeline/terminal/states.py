"""Where every planned run stands: done, failed, diverged or missing, and why.

Separate from the scheduler, which acts on it: here the store is looked at and nothing is changed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from pipeline.config.plan import Plan
from pipeline.data.prepared import read_summary
from pipeline.execution.scheduler import grouped, labels
from pipeline.planning.phases import confirmation, exploration
from pipeline.planning.studies import Experiment
from pipeline.records.store import Store
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed
from pipeline.terminal.tables import show, table

ARTIFACTS = Path("artifacts")
STATES = ("done", "failed", "diverged", "missing")
TROUBLES = ("failed", "diverged")
SHORT = {"exploration": "explore", "confirmation": "confirm"}


def show_states(experiment: Experiment, store: Store) -> None:
    """A table of runs by phase, study and state, then a line for every reason."""
    protocol = experiment.protocol.name
    rows: list[tuple[str, str, Counter[str]]] = []
    reasons: list[str] = []
    states: dict[str, str] = {}
    for phase, plan in plans(experiment, ARTIFACTS / protocol).items():
        if isinstance(plan, str):
            reasons.append(f"{phase}: {plan}")
            continue
        own = {name: store.state(name) for name in plan.fingerprints()}
        rows += [(SHORT[phase], study, counts) for study, counts in counted(plan, own).items()]
        reasons += told(plan, own, store)
        states |= own
    if rows:
        show(_drawn(rows, f"{protocol}: runs"))
    print("\n".join([*reasons, _summed(states)] if states else reasons))


def _summed(states: Mapping[str, str]) -> str:
    done = list(states.values()).count("done")
    return f"{done} of {len(states)} runs done, each counted once" + (
        ": run make run" if "missing" in states.values() else ""
    )


def _drawn(rows: Sequence[tuple[str, str, Counter[str]]], title: str) -> Table:
    """A row for each phase and study; of the states those that occur."""
    states = [state for state in STATES if any(counts[state] for _, _, counts in rows)]
    drawn = table("phase", "study", "planned", *states, title=title)
    for column in drawn.columns[2:]:
        column.justify = "right"
    for column in (drawn.columns[0], *drawn.columns[2:]):
        column.no_wrap = True
    for phase, study, counts in rows:
        drawn.add_row(
            phase, study, str(counts.total()), *(str(counts[state] or "") for state in states)
        )
    return drawn


def plans(experiment: Experiment, folder: Path) -> dict[str, Plan | str]:
    """The plan of each phase with the present settings and code, or what has to be done before there is one."""
    try:
        digest = read_summary(folder / "data")["digest"]
        choice = (
            read_sealed(folder / "choice.json")["choice"]
            if (folder / "choice.json").exists()
            else None
        )
    except Refusal:
        return {
            "exploration": "planned once data are prepared",
            "confirmation": "planned once strengths are chosen",
        }
    explored = exploration(experiment, digest)[0]
    if choice is None:
        return {"exploration": explored, "confirmation": "planned once strengths are chosen"}
    return {"exploration": explored, "confirmation": confirmation(experiment, digest, choice)[0]}


def counted(plan: Plan, states: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Study -> how many of its runs are in each state; a run of several studies counts in each."""
    found: dict[str, dict[str, str]] = {}
    for run in plan.every():
        found.setdefault(run.study, {})[run.fingerprint] = states[run.fingerprint]
    return {study: Counter(runs.values()) for study, runs in found.items()}


def told(plan: Plan, states: Mapping[str, str], store: Store) -> Iterator[str]:
    """A line for each state and reason, naming the first run with it."""
    names = labels(plan)
    for state in TROUBLES:
        reasons = {name: _reason(store, name) for name, each in states.items() if each == state}
        for reason, runs in grouped(reasons, names).items():
            yield f"{plan.phase}: {state}: {runs}: {reason}"


def _reason(store: Store, name: str) -> str:
    record: dict[str, Any] = store.record(name) or {}
    return str(record.get("reason", ""))
