"""Jobs as Ray tasks on all machines of a cluster: the same contract as the pool on one machine.

Separate, and the only file that knows Ray, which is an extra. A task performs its job in a process of its
own, as the pool does, so failures and limits read the same. Nothing is told to a node before it has shown
that it sees the same folders and has the same code; a job whose process or node is lost is tried once
more, elsewhere where there is another node. Tasks may run twice: the first complete record wins.
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.parameters import Execution
from pipeline.execution import nodes, processes
from pipeline.execution.attempts import Job, Outcome, Perform
from pipeline.execution.placement import Grid, Node
from pipeline.execution.sharing import look_again, question
from pipeline.runtime.errors import Refusal
from pipeline.runtime.signals import TERMINATED

ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "3",  # tries to reach the head, one a second
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # what nodes say of dead workers: the runs' reasons say it
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's future way with CUDA_VISIBLE_DEVICES; says so otherwise
}
REACH = 5.0  # seconds to open a connection to the head
PATIENCE = 60.0  # seconds for a node to answer; the first task of a node imports torch
SURVEY = 2.0  # seconds between looks at who has joined


def run_jobs(
    jobs: Sequence[Job], perform: Perform, settings: Execution, shared: Sequence[Path]
) -> Iterator[tuple[Job, Outcome]]:
    """Performs every job and yields (job, outcome) as each ends, as `processes.run_jobs` does.

    `shared` are the absolute folders that every node must see. Raises Refusal where there is no cluster, or one
    of its nodes differs from this machine; a node that joins later and differs is named once and given nothing.
    Every task has ended when this generator has.
    """
    if not jobs:
        return
    if settings.accelerator == "gpu":
        raise Refusal(
            'execution.accelerator: "gpu" is refused with executor: cluster; allowed is cpu, or auto: processors'
        )
    with _connection(settings.address) as ray:
        grid = Grid(list(jobs))
        complaints = _survey(ray, grid, settings, shared)
        if complaints:
            raise Refusal(*complaints)
        while grid.waiting or grid.flying:
            _submit(ray, grid, perform, settings)
            if not grid.trusted and not grid.flying:
                raise Refusal(
                    f"execution.executor: the cluster at {settings.address} has no node with a processor left"
                )
            for job, outcome in _landed(ray, grid):
                if outcome["state"] == "refused":
                    raise Refusal(*outcome["reason"].splitlines())
                yield job, outcome
            for line in _survey(ray, grid, settings, shared):
                print(f"{line}; it is given no runs", file=sys.stderr, flush=True)
        look_again(shared)


def _submit(ray: Any, grid: Grid, perform: Perform, settings: Execution) -> None:
    """Gives jobs out until every processor, or as many as the settings allow, has one."""
    told = settings.model_copy(update={"workers": 1, "accelerator": "cpu"}).model_dump_json()
    while len(grid.flying) < (settings.workers or sys.maxsize) and (found := grid.next()):
        job, node = found
        grid.waiting.remove(job)
        grid.tried.setdefault(job["id"], []).append(node.id)
        grid.flying[
            _task(ray, _work, node, settings.devices).remote(_name(perform), json.dumps(job), told)
        ] = job, node


def _landed(ray: Any, grid: Grid) -> Iterator[tuple[Job, Outcome]]:
    """Jobs that have ended within the next moments; one that was lost goes back to the waiting ones once."""
    ready, _ = ray.wait(list(grid.flying), timeout=SURVEY) if grid.flying else ([], [])
    for task in ready:
        job, node = grid.flying.pop(task)
        try:
            outcome: Outcome = json.loads(ray.get(task))
        except ray.exceptions.RayError as error:
            grid.trusted.pop(node.id, None)  # until it has answered again
            outcome = {"state": "failed", "died": True, "reason": _loss(ray, error, node)}
        if outcome.pop("died", False) and len(grid.tried[job["id"]]) < processes.TRIES:
            grid.waiting.insert(0, job)
        else:
            yield job, outcome


def _work(perform: str, job: str, settings: str) -> str:
    """The task: one try at one job, by a process of its own on this node."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # one kind of hardware on every node
    module, _, name = perform.partition(":")
    work = getattr(importlib.import_module(module), name)
    try:
        [(_, outcome)] = processes.run_jobs(
            [json.loads(job)], work, Execution.model_validate_json(settings), allowed=1
        )
    except Refusal as refusal:
        outcome = {"state": "refused", "reason": "\n".join(refusal.lines)}
    return json.dumps(outcome)


def _name(perform: Perform) -> str:
    """Where a node finds the function: by name in its own code, so that nothing is pickled."""
    specification = getattr(sys.modules[perform.__module__], "__spec__", None)
    return f"{specification.name if specification else perform.__module__}:{perform.__qualname__}"


def _task(ray: Any, function: Any, node: Node, processors: int) -> Any:
    place = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
    return ray.remote(function).options(
        num_cpus=processors, max_retries=0, scheduling_strategy=place
    )


def _loss(ray: Any, error: Exception, node: Node) -> str:
    if isinstance(error, ray.exceptions.RayTaskError):  # our own code never raises there
        return f"node {node.place} cannot work: {str(error).strip().splitlines()[-1]}"
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return f"its worker was ended by Ray for want of memory on node {node.place}"
    return f"its worker or the whole node {node.place} was lost ({type(error).__name__})"


def _survey(ray: Any, grid: Grid, settings: Execution, shared: Sequence[Path]) -> list[str]:
    """Strikes off nodes that have left, asks those that have joined, and gives a line for each that cannot take part."""
    alive = {
        entry["NodeID"]: entry for entry in ray.nodes() if entry["Alive"] and _room(entry, settings)
    }
    grid.trusted = {name: node for name, node in grid.trusted.items() if name in alive}
    unknown = [
        Node(name, entry["NodeManagerAddress"], _room(entry, settings))
        for name, entry in alive.items()
        if name not in grid.trusted and name not in grid.refused
    ]
    complaints = _ask(ray, unknown, shared) if unknown else {}
    gone = {entry["NodeID"] for entry in ray.nodes() if not entry["Alive"]} if complaints else set()
    complaints = {name: line for name, line in complaints.items() if name not in gone}
    grid.trusted |= {node.id: node for node in unknown if node.id not in {*complaints, *gone}}
    grid.refused |= set(complaints)
    return list(complaints.values())


def _room(entry: dict[str, Any], settings: Execution) -> int:
    """How many runs a node holds at a time."""
    return int(entry["Resources"].get("CPU", 0)) // settings.devices


def _ask(ray: Any, unknown: Sequence[Node], shared: Sequence[Path]) -> dict[str, str]:
    """Node id -> a line on what keeps it from work, for those of which there is one to say."""
    with question(shared) as name:
        folders = [str(folder) for folder in shared]
        asked = {
            _task(ray, nodes.report, node, 0).remote(folders, name, node.id): node
            for node in unknown
        }
        ray.wait(list(asked), num_returns=len(asked), timeout=PATIENCE)
        lines = {node.id: _reply(ray, task, node, name) for task, node in asked.items()}
    return {node: line for node, line in lines.items() if line}


def _reply(ray: Any, task: Any, node: Node, name: str) -> str:
    try:
        return nodes.complaint(ray.get(task, timeout=0), node.place, name, node.id)
    except ray.exceptions.GetTimeoutError:
        return f"{nodes.OFFENDER} {node.place} did not answer within {PATIENCE:.0f} s; needed is a node that starts workers"
    except ray.exceptions.RayError as error:
        line = str(error).strip().splitlines()[-1]
        return f"{nodes.OFFENDER} {node.place} cannot work ({line}); needed is the same installation on every node"


@contextlib.contextmanager
def _connection(address: str) -> Iterator[Any]:
    """Ray, connected to the cluster while the context lasts; the end of the connection ends its tasks."""
    os.environ.update(ENVIRONMENT)
    try:
        import ray
    except ImportError:
        raise Refusal(
            "execution.executor: cluster needs Ray, which is not installed; needed: pip install '.[ray]'"
        ) from None
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        _join(ray, _head(address))
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminated)  # Ray has put its own in place
        yield ray
    except SystemExit:  # the signal's own, to which Ray has given another exit code
        raise SystemExit(TERMINATED) from None
    finally:
        ray.shutdown()


def _head(address: str) -> str:
    """The host:port of the cluster's head, which answers there: Ray itself would try for minutes."""
    from ray._private.services import canonicalize_bootstrap_address_or_die as resolved

    needed = "needed is a running cluster that this machine belongs to: ray start"
    try:
        head: str = resolved(address)
    except (ConnectionError, ValueError):
        raise Refusal(
            f"execution.address: {address} finds no Ray cluster on this machine; {needed}"
        ) from None
    host, _, port = head.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH).close()
    except OSError as error:
        raise Refusal(
            f"execution.address: nothing answers at {head} ({error.strerror or error}); {needed}"
        ) from None
    return head


def _join(ray: Any, head: str) -> None:
    needed = "needed is the token of the cluster's head in ~/.ray/auth_token (RAY_AUTH_TOKEN_PATH names another file)"
    try:
        with _quiet():
            ray.init(head, log_to_driver=False, logging_level="ERROR", namespace="gapwise")
    except ray.exceptions.AuthenticationError:
        raise Refusal(
            f"execution.executor: this machine has no token for the cluster at {head}; {needed}"
        ) from None
    except ConnectionError:
        raise Refusal(
            f"execution.executor: what answers at {head} refuses this machine's token, or is no Ray; {needed}"
        ) from None
    except (RuntimeError, ValueError) as error:  # other versions, no node on this machine
        raise Refusal(
            f"execution.executor: the cluster at {head}: {' '.join(str(error).split())}"
        ) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what Ray's own threads write to the standard error to themselves: the one line says it."""
    kept, (unread, nowhere) = os.dup(2), os.pipe()
    os.set_blocking(nowhere, False)  # what does not fit is dropped
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        for end in (kept, unread, nowhere):
            os.close(end)
