"""Print the output of `gapwise status`: how many runs are done, failed or missing, and why."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from pipeline.config.plan import Phase, Plan
from pipeline.execution.failures import group_by_reason, run_labels
from pipeline.execution.plans import read_current_plan
from pipeline.records.runs import STATES
from pipeline.records.store import Store, open_store
from pipeline.terminal.tables import show, table

PROBLEMS = ("failed", "diverged")
PHASES: dict[Phase, str] = {"exploration": "explore", "confirmation": "confirm"}  # and in tables


def show_status(protocol: str) -> None:
    """Print a table of runs by phase, study and state, then a line for every reason."""
    store = open_store()
    rows: list[tuple[str, str, Counter[str]]] = []
    lines: list[str] = []
    states: dict[str, str] = {}
    for phase, short in PHASES.items():
        plan, changed = read_current_plan(store, protocol, phase)
        if plan is None:
            lines.append(f"{phase}: not planned yet; run: gapwise run (or gapwise plan, to see it)")
            continue
        if changed:
            lines.append(f"{phase}: {changed[0]} has changed since this plan; run: gapwise run")
        run_states = {name: store.state(name) for name in plan.fingerprints()}
        rows += [
            (short, study, counts) for study, counts in _count_states(plan, run_states).items()
        ]
        lines += _format_reasons(plan, run_states, store)
        states |= run_states
    if rows:
        show(_table(rows, f"{protocol}: runs"))
        lines.append(_format_total(states))
    print("\n".join(lines))


def _format_total(states: Mapping[str, str]) -> str:
    done = list(states.values()).count("done")
    missing = ": run make run" if "missing" in states.values() else ""
    return f"{done} of {len(states)} runs done, each counted once{missing}"


def _table(rows: Sequence[tuple[str, str, Counter[str]]], title: str) -> Table:
    """Return a row for each phase and study, with a column for each state that occurs."""
    states = [state for state in STATES if any(counts[state] for _, _, counts in rows)]
    made = table("phase", "study", "planned", *states, title=title)
    for column in made.columns[2:]:
        column.justify = "right"
    for column in (made.columns[0], *made.columns[2:]):
        column.no_wrap = True
    for phase, study, counts in rows:
        numbers = [str(counts[state] or "") for state in states]
        made.add_row(phase, study, str(counts.total()), *numbers)
    return made


def _count_states(plan: Plan, states: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Return the number of runs in each state by study; a run of several studies counts in each."""
    runs: dict[str, dict[str, str]] = {}
    for run in plan.runs:
        runs.setdefault(run.study, {})[run.fingerprint] = states[run.fingerprint]
    return {study: Counter(by_run.values()) for study, by_run in runs.items()}


def _format_reasons(plan: Plan, states: Mapping[str, str], store: Store) -> Iterator[str]:
    """Yield a line for each state and reason, which names the first run with it."""
    labels = run_labels(plan)
    for problem in PROBLEMS:
        reasons = {
            name: str((store.record(name) or {}).get("reason", ""))
            for name, state in states.items()
            if state == problem
        }
        for reason, runs in group_by_reason(reasons, labels).items():
            yield f"{plan.phase}: {problem}: {runs}: {reason}"
