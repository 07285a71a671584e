"""Run jobs as Ray tasks on all nodes of a cluster, with the contract of `processes.run_jobs`.

Ray places the tasks and repeats one whose worker or node is lost; a task may run twice, and the
first complete record counts. A task performs its job in a process of its own, as on one machine,
so that failures and limits read the same. A node gets jobs only after a check has shown that it
sees the same folders and has the same code, libraries and processor. Messages are JSON.
"""

import contextlib
import functools
import importlib
import json
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.config.parameters import Execution
from pipeline.execution import processes
from pipeline.execution.inputs import package_digest
from pipeline.execution.jobs import Job, Outcome, Perform
from pipeline.planning.fingerprint import versions
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
CONNECT_SECONDS = 5.0
CHECK_SECONDS = 60.0  # the first task of a node imports torch
SHARE_SECONDS = 5.0  # network file systems show new files late
SURVEY_SECONDS = 2.0  # between two looks at who has joined
NODE_ID = "ray.io/node-id"
SHARED = "expected one file system that all nodes share (GAPWISE_STORE moves the run store)"
ACCESS = "expected the token of its head in ~/.ray/auth_token (RAY_AUTH_TOKEN_PATH: another file)"


def run_jobs(
    jobs: Sequence[Job], perform: Perform, settings: Execution, shared: Sequence[Path]
) -> Iterator[tuple[Job, Outcome]]:
    """Perform every job and yield (job, outcome) as each ends; all tasks have ended when this has.

    `shared` are the absolute folders that every node must see. A node that joins later and differs
    is named once and gets no jobs.

    Raises:
        Refusal: There is no cluster, one of its nodes differs, or a job met bad input or a disk
            that cannot be written.
    """
    if not jobs:
        return
    if settings.accelerator == "gpu":
        raise Refusal(
            'execution.accelerator: invalid value "gpu" with executor: cluster; '
            "expected cpu or auto"
        )
    waiting: deque[Job] = deque(jobs)
    running: dict[Any, Job] = {}  # by task
    accepted: dict[str, int] = {}  # node -> jobs at a time
    rejected: dict[str, str] = {}  # node -> what is wrong with it
    with _connection(settings.address) as ray:
        _survey(ray, settings.devices, shared, accepted, rejected)
        if rejected:
            raise Refusal(*rejected.values())
        while waiting or running:
            room = min(sum(accepted.values()), settings.workers or sys.maxsize)
            while waiting and len(running) < room:
                job = waiting.popleft()
                running[_submit(ray, job, perform, settings, accepted)] = job
            if not running:
                raise Refusal("execution.executor: no node of the cluster has enough processors")
            ready, _ = ray.wait(list(running), timeout=SURVEY_SECONDS)
            for task in ready:
                outcome = _outcome(ray, task)
                if outcome["state"] == "refused":
                    raise Refusal(*outcome["reason"].splitlines())
                yield running.pop(task), outcome
            for line in _survey(ray, settings.devices, shared, accepted, rejected):
                print(f"{line}; it gets no jobs", file=sys.stderr, flush=True)
    for folder in shared:
        os.listdir(folder)  # an NFS client remembers until then which files were missing


def _submit(ray: Any, job: Job, perform: Perform, settings: Execution, nodes: Iterable[str]) -> Any:
    one = settings.model_copy(update={"workers": 1, "accelerator": "cpu"})
    specification = getattr(sys.modules[perform.__module__], "__spec__", None)
    module = specification.name if specification else perform.__module__  # `__main__` has a name
    task = ray.remote(_work).options(
        num_cpus=settings.devices,
        max_retries=1,
        scheduling_strategy="SPREAD",
        label_selector={NODE_ID: f"in({','.join(nodes)})"},
    )
    return task.remote(module, perform.__qualname__, json.dumps(job), one.model_dump_json())


def _work(module: str, name: str, job: str, settings: str) -> str:
    """Perform a job in a process of its own on this node and return the outcome as JSON."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # one kind of hardware on every node
    perform = getattr(importlib.import_module(module), name)
    one = Execution.model_validate_json(settings)
    try:
        [(_, outcome)] = processes.run_jobs([json.loads(job)], perform, one)
    except Refusal as refusal:
        outcome = {"state": "refused", "reason": "\n".join(refusal.lines)}
    return json.dumps(outcome)


def _outcome(ray: Any, task: Any) -> Outcome:
    try:
        outcome: Outcome = json.loads(ray.get(task))
        return outcome
    except ray.exceptions.RayTaskError as error:  # the node, as `_work` itself raises nothing
        reason = f"a node cannot work: {_last_line(error)}"
    except ray.exceptions.RayError as error:
        reason = f"its worker or the whole node was lost ({type(error).__name__})"
    return {"state": "failed", "reason": reason}


def _survey(
    ray: Any,
    processors: int,
    shared: Sequence[Path],
    accepted: dict[str, int],
    rejected: dict[str, str],
) -> list[str]:
    """Check the nodes that have joined and remove those that have left; return the new problems."""
    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    for node in set(accepted) - set(nodes):
        del accepted[node]
    room = {
        name: int(node["Resources"].get("CPU", 0)) // processors for name, node in nodes.items()
    }
    new = [node for node in nodes if room[node] and node not in {*accepted, *rejected}]
    if not new:
        return []
    with _probe(shared) as probe:
        arguments = facts(), [str(folder) for folder in shared], probe
        asked = ray.remote(problem)
        tasks = {
            node: asked.options(num_cpus=0, max_retries=0, label_selector={NODE_ID: node}).remote(
                *arguments, node
            )
            for node in new
        }
        ray.wait(list(tasks.values()), num_returns=len(tasks), timeout=CHECK_SECONDS)
        problems = {node: _answer(ray, task) for node, task in tasks.items()}
        for node in new:
            problems[node] = problems[node] or hidden(shared, probe, node)
    left = {node["NodeID"] for node in ray.nodes() if not node["Alive"]}
    found = {
        node: f"execution.executor: node {nodes[node]['NodeManagerAddress']} {text}"
        for node, text in problems.items()
        if text and node not in left
    }
    rejected |= found
    accepted |= {node: room[node] for node in new if node not in {*found, *left}}
    return list(found.values())


def _answer(ray: Any, task: Any) -> str:
    try:
        return str(ray.get(task, timeout=0))
    except ray.exceptions.GetTimeoutError:
        return f"did not answer within {CHECK_SECONDS:.0f} s; expected a node that starts workers"
    except ray.exceptions.RayError as error:
        return f"cannot work ({_last_line(error)}); expected the same installation on every node"


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def problem(ours: Mapping[str, str], folders: Sequence[str], probe: str, node: str) -> str:
    """Return what keeps this node from taking part, and leave an answer in each folder's probe.

    `ours` are the facts of the machine that asks.
    """
    for folder in folders:
        place = Path(folder, probe)
        if not _soon(place.is_dir):
            return f"does not see {folder}; {SHARED}"
        if not _soon(lambda place=place: (place / node).write_text(node)):  # type: ignore[misc]
            return f"cannot write to {folder}; {SHARED}"
    for fact, theirs in facts().items():
        if ours.get(fact) != theirs:
            return (
                f"has {fact} {theirs}, this machine {ours.get(fact)}; expected the same everywhere"
            )
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return "requires no token; expected RAY_AUTH_MODE=token where `ray start` is called"
    return ""


def hidden(folders: Sequence[Path], probe: str, node: str) -> str:
    """Return where the answer of a node cannot be seen: it has another folder at the same path."""
    for folder in folders:
        if not _soon((folder / probe / node).exists):
            return f"has another folder at the place of {folder}; {SHARED}"
    return ""


@functools.cache
def facts() -> dict[str, str]:
    """Return what must be equal on all nodes for a run to give the same bytes on each."""
    return {
        "Python": platform.python_version(),
        **versions(),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "code of pipeline": package_digest()[:12],
    }


@contextlib.contextmanager
def _probe(folders: Sequence[Path]) -> Iterator[str]:
    """Make a folder of one new name in every folder while the context lasts; yield the name."""
    name = f".probe.{uuid.uuid4().hex}"
    try:
        for folder in folders:
            (folder / name).mkdir(parents=True)
        yield name
    finally:
        for folder in folders:
            shutil.rmtree(folder / name, ignore_errors=True)


def _soon(check: Callable[[], object]) -> bool:
    end = time.monotonic() + SHARE_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if check():
                return True
        time.sleep(0.1)
    return False


@contextlib.contextmanager
def _connection(address: str) -> Iterator[Any]:
    """Connect to the cluster while the context lasts; the end of the connection ends its tasks."""
    os.environ.update(ENVIRONMENT)
    try:
        import ray
    except ImportError:
        raise Refusal(
            "execution.executor: Ray is not installed; run: pip install '.[ray]'"
        ) from None
    _require_listener(address)
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
        raise Refusal(f"execution.executor: no token for the cluster here; {ACCESS}") from None
    except ConnectionError:
        raise Refusal(
            f"execution.executor: what answers at {address} is no Ray or rejects the token; "
            f"{ACCESS}"
        ) from None
    except (RuntimeError, ValueError) as error:  # other versions, no node on this machine
        raise Refusal(f"execution.executor: the cluster at {address}: {error}") from None


def _require_listener(address: str) -> None:
    """Raise Refusal where nothing listens: `ray.init` tries for minutes, then ends the process."""
    last = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), "ray", "ray_current_cluster")
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or (last.read_text() if last.exists() else "")
    host, _, port = address.strip().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port or 0)), CONNECT_SECONDS).close()
    except OSError as error:
        raise Refusal(
            f"execution.address: nothing answers at {address or 'auto'} "
            f"({error.strerror or error}); "
            "expected a running cluster that this machine belongs to: ray start"
        ) from None


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drop what Ray's own threads write to the standard error."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
