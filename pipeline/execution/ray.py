"""Run jobs as Ray tasks on all nodes of a cluster, with the contract of `processes.run_jobs`.

Ray places the tasks and repeats one whose worker or node is lost; a task may run twice, and the
first complete record counts. A job that a node could not even begin goes to another one. A task
performs its job in a separate process, as on one machine, so that failures and limits read the
same. Messages are JSON.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.parameters import PARAMETERS, Execution
from pipeline.config.validation import invalid
from pipeline.execution import processes
from pipeline.execution.address import require_listener
from pipeline.execution.jobs import Job, Outcome, Perform
from pipeline.execution.nodes import EXECUTOR, Nodes
from pipeline.runtime.errors import Refusal
from pipeline.runtime.signals import TERMINATED

ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "3",  # one second apart
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # nodes' reports on dead workers: outcomes have the reasons
    "RAY_task_oom_retries": "1",  # without end by default
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray prints a warning otherwise
}
SURVEY_SECONDS = 2.0  # between two looks at which nodes there are
ACCESS = "expected the token of its head in ~/.ray/auth_token (RAY_AUTH_TOKEN_PATH: another file)"


def run_jobs(
    jobs: Sequence[Job], perform: Perform, settings: Execution, shared: Sequence[Path]
) -> Iterator[tuple[Job, Outcome]]:
    """Perform every job and yield (job, outcome) as each ends; all tasks have ended when this has.

    `shared` are the absolute folders that every node must see. A node that joins later and differs,
    or on which a job cannot begin, is named once and gets no more jobs.

    Raises:
        Refusal: There is no cluster, one of its nodes differs, no node can work, or a job met bad
            input or a disk that cannot be written.
    """
    if not jobs:
        return
    if settings.accelerator == "gpu":
        where = f"{PARAMETERS}: execution.accelerator"
        raise Refusal(invalid(where, "gpu", "cpu or auto with executor: cluster"))
    waiting: deque[Job] = deque(jobs)
    running: dict[Any, Job] = {}  # by task
    with _connection(settings.address) as ray:
        nodes = Nodes(ray, settings.devices, shared)
        if differing := nodes.survey():
            raise Refusal(*differing)
        while waiting or running:
            slots = nodes.slots()
            if not slots:
                few = f"{EXECUTOR}: no node of the cluster has enough processors"
                raise Refusal(*(nodes.problems.values() or [few]))
            room = min(sum(slots.values()), settings.workers or sys.maxsize)
            while waiting and len(running) < room:  # the rest can use nodes that join
                job = waiting.popleft()
                running[_submit(nodes, slots, job, perform, settings)] = job
            ready, _ = ray.wait(list(running), timeout=SURVEY_SECONDS)
            lines = nodes.survey()
            for task in ready:
                job = running.pop(task)
                problems, outcome = _collect(ray, nodes, task)
                lines += problems
                if outcome is None:
                    waiting.append(job)
                elif outcome["state"] == "refused":
                    raise Refusal(*outcome["reason"].splitlines())
                else:
                    yield job, outcome
            for line in lines:
                print(f"{line}; it gets no jobs", file=sys.stderr, flush=True)
    for folder in shared:
        os.listdir(folder)  # an NFS client remembers until then which files were missing


def _submit(
    nodes: Nodes, names: Collection[str], job: Job, perform: Perform, settings: Execution
) -> Any:
    """Start a job on one of the nodes with these names and return its task."""
    one = settings.model_copy(update={"workers": 1, "accelerator": "cpu"})
    specification = getattr(sys.modules[perform.__module__], "__spec__", None)
    module = specification.name if specification else perform.__module__  # `__main__` has a name
    arguments = module, perform.__qualname__, json.dumps(job), one.model_dump_json()
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
    one = Execution.model_validate_json(settings)
    try:
        [(_, outcome)] = processes.run_jobs([json.loads(job)], perform, one)
    except Refusal as refusal:
        outcome = {"state": "refused", "reason": "\n".join(refusal.lines)}
    return json.dumps(outcome)


def _collect(ray: Any, nodes: Nodes, task: Any) -> tuple[list[str], Outcome | None]:
    """Return new problems of nodes, and the outcome of a job or None if it is to start again."""
    try:
        unfit, text = nodes.answer(task)
    except ray.exceptions.TaskUnschedulableError:  # all nodes that it could go to have left
        return [], None
    except ray.exceptions.RayError as error:
        reason = f"its worker or the whole node was lost ({type(error).__name__})"
        return [], {"state": "failed", "reason": reason}
    return (nodes.reject(unfit, text), None) if unfit else ([], json.loads(text))


@contextlib.contextmanager
def _connection(address: str) -> Iterator[Any]:
    """Connect to the cluster while the context lasts; the end of the connection ends its tasks."""
    os.environ.update(ENVIRONMENT)
    try:
        import ray
    except ImportError:
        raise Refusal(f"{EXECUTOR}: Ray is not installed; run: pip install '.[ray]'") from None
    require_listener(address)
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        _connect(ray, address)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray has installed its own
        yield ray
    except SystemExit:
        raise SystemExit(TERMINATED) from None  # Ray gives the signal's another exit code
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    try:
        with _silent():
            ray.init(address, log_to_driver=False, logging_level="ERROR", namespace="gapwise")
    except ray.exceptions.AuthenticationError:
        raise Refusal(f"{EXECUTOR}: no token for the cluster here; {ACCESS}") from None
    except ConnectionError:
        raise Refusal(
            f"{EXECUTOR}: what answers at {address} is no Ray or rejects the token; {ACCESS}"
        ) from None
    except (RuntimeError, ValueError) as error:  # other versions, no node on this machine
        raise Refusal(f"{EXECUTOR}: the cluster at {address}: {error}") from None


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drop what Ray's own threads write to the standard error."""
    original = os.dup(2)
    null_device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, 2)
    os.close(null_device)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)
