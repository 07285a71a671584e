"""Print the output of `gapwise status`: how many runs are done, failed or missing, and why."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from pipeline.config.parameters import PARAMETERS, PROTOCOLS
from pipeline.config.plan import Phase, Plan
from pipeline.config.validation import unknown_name
from pipeline.config.yaml_files import yaml_names
from pipeline.execution.dvc import VERBS
from pipeline.execution.failures import group_by_reason, run_labels
from pipeline.execution.plans import read_current_plan
from pipeline.execution.stage import stage_lock
from pipeline.records.runs import FINISHED, STATES
from pipeline.records.store import Store, open_store
from pipeline.runtime.errors import Refusal
from pipeline.runtime.locks import lock_holder
from pipeline.terminal.tables import show, table

PROBLEMS = ("failed", "diverged")
PHASES: dict[Phase, str] = {"exploration": "explore", "confirmation": "confirm"}  # and in tables


def show_status(protocol: str) -> None:
    """Print a table of runs by phase, study and state, then a line for every reason.

    Args:
        protocol: The name of the protocol.

    Raises:
        Refusal: There is no such protocol.
    """
    existing = yaml_names(PROTOCOLS)
    if protocol not in existing:
        raise Refusal(unknown_name(f"{PARAMETERS}: protocols", protocol, existing))
    store = open_store()
    rows: list[tuple[str, str, Counter[str]]] = []
    lines: list[str] = []
    states: dict[str, str] = {}
    progress: list[str] = []
    for phase, short in PHASES.items():
        plan, changed = read_current_plan(store, protocol, phase)
        if plan is None:
            lines.append(
                f"{protocol}, {phase}: not planned yet; run: gapwise run --protocol {protocol}"
            )
            continue
        if changed:
            lines.append(
                f"{phase}: {changed[0]} has changed since this plan; "
                f"run: gapwise run --protocol {protocol}"
            )
        unchanged = store.unchanged(plan)
        run_states = {
            name: "failed" if name in unchanged else store.state(name) for name in plan.trained()
        }
        rows += [
            (short, study, counts) for study, counts in _count_states(plan, run_states).items()
        ]
        lines += _format_reasons(plan, run_states, store, unchanged)
        progress += _format_progress(plan, run_states, store)
        states |= run_states
    if rows:
        show(_table(rows, f"{protocol}: runs"))
        lines += [*progress, _format_total(states, bool(progress))]
    print("\n".join(lines))


def _format_total(states: Mapping[str, str], in_progress: bool) -> str:
    done = list(states.values()).count("done")
    missing = "missing" in states.values() and not in_progress
    remedy = "; run: gapwise run" if missing else ""
    return f"{done} of {len(states)} runs done, each counted once{remedy}"


def _format_progress(plan: Plan, states: Mapping[str, str], store: Store) -> Iterator[str]:
    """Yield the speed and the remaining time of a phase in progress; nothing otherwise."""
    lock = stage_lock(plan.protocol, VERBS[plan.phase])
    if not lock_holder(lock):
        return
    began = lock.stat().st_mtime
    finished = [name for name, state in states.items() if state in FINISHED]
    ended = sum(store.ended_at(name) >= began for name in finished)
    left = len(states) - len(finished)
    if not ended:
        yield f"{plan.phase}: in progress, {left} runs left, none has ended yet"
        return
    speed = ended / (time.time() - began) * 60
    yield (
        f"{plan.phase}: in progress, {speed:.1f} runs a minute, "
        f"{left} left, about {left / speed:.1f} minutes"
    )


def _table(rows: Sequence[tuple[str, str, Counter[str]]], title: str) -> Table:
    """Return a row for each phase and study, with a column for each state that occurs."""
    states = [state for state in STATES if any(counts[state] for _, _, counts in rows)]
    grid = table("phase", "study", "planned", *states, title=title)
    for column in grid.columns[2:]:
        column.justify = "right"
    for column in (grid.columns[0], *grid.columns[2:]):
        column.no_wrap = True
    for phase, study, counts in rows:
        numbers = [str(counts[state] or "") for state in states]
        grid.add_row(phase, study, str(counts.total()), *numbers)
    return grid


def _count_states(plan: Plan, states: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Return the number of runs in each state by study; a run of several studies counts in each."""
    runs: dict[str, dict[str, str]] = {}
    for start in plan.starts:
        runs.setdefault(start.name, {})[start.fingerprint] = states[start.fingerprint]
    for run in plan.runs:
        runs.setdefault(run.study, {})[run.fingerprint] = states[run.fingerprint]
    return {study: Counter(by_run.values()) for study, by_run in runs.items()}


def _format_reasons(
    plan: Plan, states: Mapping[str, str], store: Store, unchanged: Mapping[str, str]
) -> Iterator[str]:
    """Yield a line for each state and reason, which names the first run with it."""
    labels = run_labels(plan)
    for problem in PROBLEMS:
        reasons = {
            name: unchanged.get(name) or str((store.record(name) or {}).get("reason", ""))
            for name, state in states.items()
            if state == problem
        }
        for reason, runs in group_by_reason(reasons, labels).items():
            yield f"{plan.phase}: {problem}: {runs}: {reason}"
