"""Brings a plan to completion: every planned run that the store lacks is trained.

Separate from the executor, which carries jobs and knows nothing of runs.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.parameters import Execution
from pipeline.config.plan import Plan, last_plan
from pipeline.execution import cluster, processes
from pipeline.execution.attempts import Job, Outcome, Perform
from pipeline.execution.order import longest_first, timed
from pipeline.execution.stage import Incomplete
from pipeline.records.store import Store
from pipeline.runtime.progress import progress


def complete(
    plan: Plan,
    identities: Mapping[str, Any],
    perform: Perform,
    store: Store,
    folder: Path,
    settings: Execution,
    loggers: Mapping[str, Any],
) -> None:
    """Trains what is missing, then assembles `folder`/<phase> from the plan, whatever failed.

    `folder` is the protocol's, with its prepared data; `loggers` says by fingerprint who is told of a curve as it comes.
    Raises Incomplete naming the failures.
    """
    store.sweep()
    data = str((folder / "data").absolute())
    needed = [name for name in plan.fingerprints() if not store.finished(name)]
    places = {"data": data, "store": str(store.root), "hardware": settings.hardware()}
    jobs = [
        {"id": name, "identity": identities[name], "logger": loggers.get(name), **places}
        for name in needed
    ]
    explored = last_plan(folder / "exploration")  # confirmation trains the same arms
    jobs = longest_first(
        jobs, timed(store, [*plan.fingerprints(), *(explored.fingerprints() if explored else ())])
    )
    failed = finish(
        jobs, perform, settings, _title(plan, len(needed)), [store.root, folder.absolute()]
    )
    if jobs and loggers and (trouble := store.muted()):
        print(
            f"W&B: {trouble}; live curves rest for some minutes, the mirror makes up for them",
            file=sys.stderr,
        )
    for job, outcome in failed:
        store.write_failure(job["id"], outcome["reason"], outcome.get("traceback", ""))
    lost = store.assemble(plan, folder / plan.phase)
    if lost:
        name = labels(plan)[lost[0]]
        raise Incomplete(
            f"{name}: damaged or removed since it was trained, of {len(lost)} such runs the first; run again"
        )
    if failed and not (settings.keep_going or os.environ.get("GAPWISE_KEEP_GOING")):
        raise Incomplete(said(failed, len(needed), labels(plan)))


def finish(
    jobs: list[dict[str, Any]],
    perform: Perform,
    settings: Execution,
    title: str,
    shared: Sequence[Path],
) -> list[tuple[Job, Outcome]]:
    """Performs all jobs under one progress bar; gives the failed ones. `shared` are the absolute folders that jobs use."""
    if not jobs:
        print(f"{title}: nothing to do", flush=True)
        return []
    failed = []
    with progress(title, len(jobs)) as tally:
        for job, outcome in _run_jobs(jobs, perform, settings, shared):
            tally.add(outcome["state"])
            if outcome["state"] == "failed":
                failed.append((job, outcome))
    return failed


def _run_jobs(
    jobs: Sequence[Job], perform: Perform, settings: Execution, shared: Sequence[Path]
) -> Iterator[tuple[Job, Outcome]]:
    if settings.executor == "cluster":
        return cluster.run_jobs(jobs, perform, settings, shared)
    return processes.run_jobs(jobs, perform, settings)


def said(failed: list[tuple[Job, Outcome]], total: int, labels: Mapping[str, str]) -> str:
    """How many failed and why: a line for each reason, naming the first run with it."""
    reasons = {job["id"]: outcome["reason"] for job, outcome in failed}
    lines = [f"{runs}: {reason}" for reason, runs in grouped(reasons, labels).items()]
    return "\n".join([f"{len(failed)} of {total} runs failed:", *lines])


def grouped(reasons: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    """Reason -> the runs with it: the first by its label, and how many more. `reasons` by fingerprint."""
    runs: dict[str, list[str]] = {}
    for name in sorted(reasons, key=lambda name: labels[name]):
        runs.setdefault(reasons[name], []).append(labels[name])
    return {
        reason: f"{names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)}"
        for reason, names in runs.items()
    }


def labels(plan: Plan) -> dict[str, str]:
    """What a person calls each run, as what it stands for first."""
    return {run.fingerprint: run.label() for run in reversed(plan.every())}


def _title(plan: Plan, needed: int) -> str:
    kept = len(plan.fingerprints()) - needed
    return f"{plan.phase} of {plan.protocol}" + (f" ({kept} runs kept)" if kept else "")
