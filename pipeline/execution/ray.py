"""Run jobs as Ray tasks on all nodes of a cluster, with the contract of `processes.run_jobs`.

Ray places the tasks and repeats one whose worker or node is lost; a task may run twice, and the
first complete record counts. A job that a node could not begin goes to another node. A task
performs its job in a separate process, as on one machine, so that failures and limits read the
same. Messages are JSON.
"""

import importlib
import json
import os
import sys
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.parameters import PARAMETERS, Execution
from pipeline.config.validation import invalid
from pipeline.execution import processes
from pipeline.execution.cluster import connection
from pipeline.execution.jobs import Job, Outcome, Perform
from pipeline.execution.nodes import EXECUTOR, Nodes
from pipeline.runtime.errors import Refusal

SURVEY_SECONDS = 2.0  # between two looks at which nodes there are


def run_jobs(
    jobs: Sequence[Job], perform: Perform, settings: Execution, shared: Sequence[Path]
) -> Iterator[tuple[Job, Outcome]]:
    """Perform every job and yield (job, outcome) as each ends; all tasks have ended when this has.

    A node that joins later and differs, or on which a job cannot begin, is named once and gets no
    more jobs.

    Args:
        jobs: The jobs.
        perform: Performs one of them; a function of a module.
        settings: Where and how they are performed.
        shared: The absolute folders that every node must see.

    Raises:
        Refusal: There is no cluster, one of its nodes differs, no node can work, or a job met bad
            input or a disk that cannot be written.
    """
    if not jobs:
        return
    _require_no_gpu(settings)
    waiting: deque[Job] = deque(jobs)
    running: dict[Any, Job] = {}  # by task
    with connection(settings.address) as ray:
        nodes = Nodes(ray, settings.devices, shared)
        if differing := nodes.survey():
            raise Refusal(*differing)
        while waiting or running:
            slots = _slots(nodes)
            room = min(sum(slots.values()), settings.workers or sys.maxsize)
            while waiting and len(running) < room:  # the rest can use nodes that join
                job = waiting.popleft()
                running[_submit(nodes, slots, job, perform, settings)] = job
            ended, _ = ray.wait(list(running), timeout=SURVEY_SECONDS)
            problems = nodes.survey()
            for task in ended:
                job = running.pop(task)
                rejection, outcome = _collect(ray, nodes, task)
                problems += rejection
                if outcome is None:
                    waiting.append(job)
                else:
                    yield job, outcome
            for problem in problems:
                print(f"{problem}; it gets no jobs", file=sys.stderr, flush=True)
    for folder in shared:
        os.listdir(folder)  # an NFS client remembers until then which files were missing


def _require_no_gpu(settings: Execution) -> None:
    """Check that the jobs do not request a GPU, which tasks do not have."""
    if settings.accelerator == "gpu":
        where = f"{PARAMETERS}: execution.accelerator"
        raise Refusal(invalid(where, "gpu", "cpu or auto with executor: cluster"))


def _slots(nodes: Nodes) -> Mapping[str, int]:
    """Return the number of jobs at a time for each usable node; at least one node has some.

    Raises:
        Refusal: No node can work.
    """
    slots = nodes.slots()
    if not slots:
        few = f"{EXECUTOR}: no node of the cluster has enough processors"
        raise Refusal(*(nodes.problems.values() or [few]))
    return slots


def _submit(
    nodes: Nodes, names: Collection[str], job: Job, perform: Perform, settings: Execution
) -> Any:
    """Start a job on one of the nodes with these names and return its task."""
    single = settings.model_copy(update={"workers": 1, "accelerator": "cpu"})
    specification = getattr(sys.modules[perform.__module__], "__spec__", None)
    module = specification.name if specification else perform.__module__  # `__main__` has a name
    arguments = module, perform.__qualname__, json.dumps(job), single.model_dump_json()
    return nodes.call(
        names,
        _work,
        *arguments,
        num_cpus=settings.devices,
        max_retries=1,
        scheduling_strategy="SPREAD",
    )


def _work(module: str, name: str, job: str, settings: str) -> str:
    """Perform a job in a separate process on this node and return the outcome as JSON."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # one kind of hardware on every node
    perform = getattr(importlib.import_module(module), name)
    single = Execution.model_validate_json(settings)
    try:
        [(_, outcome)] = processes.run_jobs([json.loads(job)], perform, single)
    except Refusal as refusal:
        outcome = {"state": "refused", "reason": "\n".join(refusal.lines)}
    return json.dumps(outcome)


def _collect(ray: Any, nodes: Nodes, task: Any) -> tuple[list[str], Outcome | None]:
    """Return new problems of nodes, and the outcome of a job or None if it is to start again.

    Raises:
        Refusal: The job met bad input or a disk that cannot be written.
    """
    try:
        unfit, text = nodes.answer(task)
    except ray.exceptions.TaskUnschedulableError:  # all nodes that it could go to have left
        return [], None
    except ray.exceptions.RayError as error:
        reason = f"its worker or the whole node was lost ({type(error).__name__})"
        return [], {"state": "failed", "reason": reason}
    if unfit:
        return nodes.reject(unfit, text), None
    outcome = json.loads(text)
    if outcome["state"] == "refused":
        raise Refusal(*outcome["reason"].splitlines())
    return [], outcome
