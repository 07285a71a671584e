"""Bring a plan to completion: train every planned run that the store lacks."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.parameters import Execution
from pipeline.config.plan import Plan, last_plan
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
    """Train what is missing, then assemble `folder`/<phase> from the plan, also after failures.

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
            damaged; the message names them.
    """
    store.sweep()
    write_current_plan(store, plan)
    needed = [name for name in plan.fingerprints() if not store.finished(name)]
    shared = {
        "data": str((folder / "data").absolute()),
        "store": str(store.root),
        "hardware": settings.hardware(),
    }
    jobs = [
        {"id": name, "identity": identities[name], "logger": loggers.get(name), **shared}
        for name in needed
    ]
    explored = last_plan(folder / "exploration")  # confirmation trains the same arms
    past = [*plan.fingerprints(), *(explored.fingerprints() if explored else ())]
    jobs = longest_first(jobs, timed(store, past))
    folders = [store.root, folder.absolute()]
    failed = finish(jobs, entry, settings, _title(plan, len(needed)), folders)
    if jobs and loggers and (trouble := store.muted()):
        print(
            f"W&B: {trouble}; no live curves for some minutes, the mirror sends them later",
            file=sys.stderr,
        )
    for fingerprint, outcome in failed.items():
        store.write_failure(fingerprint, outcome["reason"], outcome.get("traceback", ""))
    labels = run_labels(plan)
    damaged = store.assemble(plan, folder / plan.phase)
    if damaged:
        raise Incomplete(
            f"{labels[damaged[0]]}: damaged or removed since it was trained, "
            f"the first of {len(damaged)} such runs; run again"
        )
    unchanged = {
        name: {"state": "failed", "reason": reason}
        for name, reason in store.unchanged(plan).items()
    }
    if (failed or unchanged) and not (settings.keep_going or os.environ.get(KEEP_GOING)):
        total = len({*needed, *unchanged})
        raise Incomplete(format_failures({**failed, **unchanged}, total, labels))


def finish(
    jobs: list[dict[str, Any]],
    entry: Entry,
    settings: Execution,
    title: str,
    shared: Sequence[Path],
) -> dict[str, Outcome]:
    """Perform all jobs under one progress bar; return the outcomes of the failed ones by id.

    `shared` are the absolute folders that jobs use. The module of `entry` is imported once, before
    workers are forked, and only where there are jobs.
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


def _title(plan: Plan, needed: int) -> str:
    count = len(plan.fingerprints()) - needed
    rounds = [run.round for run in plan.runs if run.round is not None]
    number = f", round {max(rounds)}" if rounds else ""
    return f"{plan.phase} of {plan.protocol}{number}" + (f" ({count} runs kept)" if count else "")
