"""Bring a plan to completion: train every planned run that the store lacks."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.parameters import Execution
from pipeline.config.plan import Plan, last_plan
from pipeline.data.prepared import pretraining_folder
from pipeline.execution import processes, ray
from pipeline.execution.failures import format_failures, run_labels
from pipeline.execution.jobs import Entry, Job, Outcome, Perform, load
from pipeline.execution.order import longest_first, timed
from pipeline.execution.plans import write_current_plan
from pipeline.execution.stage import KEEP_GOING, Incomplete
from pipeline.records.store import Store
from pipeline.runtime.progress import progress


def complete(
    plan: Plan,
    identities: Mapping[str, Any],
    entry: Entry,
    store: Store,
    folder: Path,
    settings: Execution,
    loggers: Mapping[str, Any],
) -> None:
    """Train missing runs, then assemble `folder`/<phase> from the plan, even after failures.

    Args:
        plan: The runs of a phase.
        identities: What is trained in each run, by fingerprint.
        entry: The function that trains one run.
        store: Where finished runs are.
        folder: The protocol's artifacts, with its prepared data.
        settings: Where and how runs are trained.
        loggers: What makes the logger of live curves of a run, by fingerprint.

    Raises:
        Incomplete: Runs failed or have the weights of their reference, or a finished one was
            corrupted; the message names them.
    """
    store.sweep()
    write_current_plan(store, plan)
    missing = [name for name in plan.trained() if not store.finished(name)]
    labels = run_labels(plan)
    explored = last_plan(folder / "exploration")  # confirmation trains the same arms
    past = [*plan.trained(), *(explored.fingerprints() if explored else ())]
    rates = timed(store, past)
    folders = [store.root, folder.absolute()]
    failed: dict[str, Outcome] = {}
    waves = plan.waves() or [()]
    for number, names in enumerate(waves, start=1):
        is_last = number == len(waves)
        waiting = [name for name in names if name in missing]
        blocked = _blocked(plan, waiting, store, labels)
        jobs = [
            _job(plan, name, identities[name], loggers.get(name), store, folder, settings)
            for name in waiting
            if name not in blocked
        ]
        failures = _failures(blocked)
        if jobs or is_last:
            title = _title(plan, len(names) - len(waiting), is_last)
            failures |= finish(longest_first(jobs, rates), entry, settings, title, folders)
        for fingerprint, outcome in failures.items():
            store.write_failure(fingerprint, outcome["reason"], outcome.get("traceback", ""))
        failed |= failures
    if missing and loggers:
        _print_if_muted(store)
    _assemble(plan, store, folder, labels)
    unchanged = _failures(store.unchanged(plan))
    if (failed or unchanged) and not (settings.keep_going or os.environ.get(KEEP_GOING)):
        total = len({*missing, *unchanged})
        raise Incomplete(format_failures({**failed, **unchanged}, total, labels))


def _failures(reasons: Mapping[str, str]) -> dict[str, Outcome]:
    return {name: {"state": "failed", "reason": reason} for name, reason in reasons.items()}


def _print_if_muted(store: Store) -> None:
    """Print why live curves are not sent to W&B for now, if they are not."""
    if trouble := store.muted():
        print(
            f"W&B: {trouble}; no live curves for some minutes, the mirror sends them later",
            file=sys.stderr,
        )


def _assemble(plan: Plan, store: Store, folder: Path, labels: Mapping[str, str]) -> None:
    """Assemble `folder`/<phase> from the plan.

    Raises:
        Incomplete: A run was corrupted since it was trained.
    """
    corrupted = store.assemble(plan, folder / plan.phase)
    if corrupted:
        raise Incomplete(
            f"{labels[corrupted[0]]}: corrupted or removed since it was trained, "
            f"the first of {len(corrupted)} such runs; run again"
        )


def _blocked(
    plan: Plan, names: Sequence[str], store: Store, labels: Mapping[str, str]
) -> dict[str, str]:
    """Return the reason why each run cannot be trained: the run that it starts from failed."""
    starts = {row.fingerprint: row.start for row in plan.starts}
    starts |= {run.fingerprint: run.start for run in plan.runs}
    reasons = {}
    for name in names:
        lost = ""
        start = starts.get(name)
        while start and store.state(start) != "done":  # the first one of a chain has the reason
            lost, start = start, starts.get(start)
        if lost:
            record = store.record(lost) or {"state": "failed", "reason": "its record is gone"}
            how = f"{record['state']}: {record['reason']}"
            reasons[name] = f"it starts from {labels[lost]}, which {how}"
    return reasons


def _job(
    plan: Plan,
    name: str,
    identity: Mapping[str, Any],
    logger: Any,
    store: Store,
    folder: Path,
    settings: Execution,
) -> dict[str, Any]:
    """Return the job of one run, as plain values."""
    pretrainings = {start.fingerprint: start.data for start in plan.starts}
    data = folder / "data"
    if pretrainings.get(name):
        data = pretraining_folder(data, pretrainings[name])
    return {
        "id": name,
        "identity": identity,
        "logger": logger,
        "data": str(data.absolute()),
        "store": str(store.root),
        "hardware": settings.hardware(),
    }


def finish(
    jobs: list[dict[str, Any]],
    entry: Entry,
    settings: Execution,
    title: str,
    shared: Sequence[Path],
) -> dict[str, Outcome]:
    """Perform all jobs under one progress bar; return the outcomes of the failed ones by id.

    The module of `entry` is imported once, before workers are forked, and only if there are jobs.

    Args:
        jobs: The jobs, each with an `id`, in the order in which they start.
        entry: The function that does a job, as "module:name".
        settings: The executor, and the number of workers.
        title: The title of the progress bar.
        shared: Absolute paths of the folders that jobs use.
    """
    if not jobs:
        print(f"{title}: nothing to do", flush=True)
        return {}
    failed, perform = {}, load(entry)
    with progress(title, len(jobs)) as counter:
        for job, outcome in _run_jobs(jobs, perform, settings, shared):
            counter.add(outcome["state"])
            if outcome["state"] == "failed":
                failed[job["id"]] = outcome
    return failed


def _run_jobs(
    jobs: Sequence[Job], perform: Perform, settings: Execution, shared: Sequence[Path]
) -> Iterator[tuple[Job, Outcome]]:
    if settings.executor == "cluster":
        return ray.run_jobs(jobs, perform, settings, shared)
    return processes.run_jobs(jobs, perform, settings)


def _title(plan: Plan, count: int, is_last: bool) -> str:
    """Return the title of the progress bar of a wave, of which `count` runs are kept."""
    if not is_last:
        return f"pretraining of {plan.protocol}" + (f" ({count} runs kept)" if count else "")
    rounds = [run.round for run in plan.runs if run.round is not None]
    number = f", round {max(rounds)}" if rounds else ""
    return f"{plan.phase} of {plan.protocol}{number}" + (f" ({count} runs kept)" if count else "")
