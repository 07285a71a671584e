"""A pool of single-thread workers on this machine that live for many jobs.

Separate from the scheduler, which knows runs: here a job is plain values with an id. A worker that dies or is ended for
passing a limit takes its job with it, not the pool; the job is tried once more by a fresh worker. Messages are JSON, so
nothing is unpickled.
"""

import contextlib
import ctypes
import json
import multiprocessing
import os
import platform
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import psutil
import torch

from pipeline.config.parameters import Execution
from pipeline.execution.attempts import Job, Outcome, Perform, attempt
from pipeline.runtime.errors import Refusal
from pipeline.runtime.signals import end_with_parent, held_back, let_through

TRIES = 2
GROWTH = (
    256  # megabytes that a worker may gain over its first job before a fresh one takes its place
)
SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOK = 0.2  # seconds between two looks at workers and their limits
LAST = 1.0  # seconds that a worker without its pipe has to end
CLOSED = "its worker closed its pipe and went on"
MEGABYTE = 1 << 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT, MAPPED = 1 << 30, 1 << 25  # bytes
Place = Mapping[str, str]  # what the environment of a worker has of its own


@dataclass
class Worker:
    """A process and the pipe to it; `job` is the one it works on, `since` when it got it (seconds)."""

    process: BaseProcess
    pipe: Connection
    place: Place
    job: Job | None = None
    since: float = 0.0
    first: float = 0.0  # megabytes it held after its first job

    def megabytes(self) -> float:
        """What it holds in memory; 0 for one that has ended."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return float(psutil.Process(self.process.pid).memory_info().rss) / MEGABYTE
        return 0.0


def run_jobs(
    jobs: Sequence[Job], perform: Perform, settings: Execution, allowed: int = TRIES
) -> Iterator[tuple[Job, Outcome]]:
    """Performs every job and yields (job, outcome) as each ends; an outcome has at least `state`.

    An exception in a job, or the end of its worker (a signal, a limit of `settings`) in as many tries as are `allowed`, is
    the outcome {"state": "failed", "reason"}, the latter with `died`; bad input and a full or read-only disk are everybody's
    and raise Refusal.
    Every worker has ended when this generator has.
    """
    queue, tries = deque(jobs), dict.fromkeys((job["id"] for job in jobs), 0)
    pool = [_start(perform, place) for place in places(settings)[: len(jobs)]]
    try:
        while queue or any(worker.job for worker in pool):
            for worker in pool:
                if worker.job is None and queue:
                    _give(worker, queue.popleft(), tries)
            for worker, job, outcome in _ended(pool, settings):
                if outcome["state"] == "died" or worker.megabytes() > worker.first + GROWTH:
                    _end(worker)
                    pool[pool.index(worker)] = _start(perform, worker.place)
                if outcome["state"] == "died" and tries[job["id"]] < allowed:
                    queue.append(job)
                elif outcome["state"] == "refused":
                    raise Refusal(*outcome["reason"].splitlines())
                else:
                    yield (
                        job,
                        outcome
                        | ({"state": "failed", "died": True} if outcome["state"] == "died" else {}),
                    )
    finally:
        for worker in pool:
            _end(worker)


def places(settings: Execution) -> list[Place]:
    """One for each worker: the GPUs it may see, shared out evenly, or nothing where runs are trained on processors.

    Raises Refusal where more GPUs are asked for than there are.
    """
    gpus = [] if settings.accelerator == "cpu" else _gpus()
    if not gpus and settings.accelerator != "gpu":
        return [{}] * (settings.workers or max(1, cores() // settings.devices))
    if len(gpus) < settings.devices:
        raise Refusal(
            f"execution.devices: {settings.devices} is refused; of GPUs there are {len(gpus)}"
        )
    groups = [
        gpus[start : start + settings.devices]
        for start in range(0, len(gpus) - settings.devices + 1, settings.devices)
    ]
    shared = settings.workers or len(groups) * (
        settings.runs_per_gpu if settings.devices == 1 else 1
    )
    return [
        {"CUDA_VISIBLE_DEVICES": ",".join(groups[number % len(groups)])} for number in range(shared)
    ]


def _gpus() -> list[str]:
    """The names of the GPUs that this process may use."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return (
        named[:count]
        if len(named) >= count and all(named)
        else [str(number) for number in range(count)]
    )


def cores() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Lets this process use freed memory again, where the C library would give it back to the system at every training step.

    Saves the page faults of taking it anew: about a tenth of a run on images of 28x28. Elsewhere than on glibc does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_TRIM_THRESHOLD, KEPT)
        library.mallopt(M_MMAP_THRESHOLD, MAPPED)


def _start(perform: Perform, place: Place) -> Worker:
    how = (
        "fork" if sys.platform.startswith("linux") and not place else "spawn"
    )  # a GPU is lost in a fork
    context: Any = multiprocessing.get_context(how)
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, perform, dict(place)), daemon=True)
    with held_back(*SIGNALS):  # or a fork would meet them with the handlers of this process
        process.start()
    there.close()
    return Worker(process, here, place)


def _end(worker: Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()


def _give(worker: Worker, job: Job, tries: dict[str, int]) -> None:
    tries[job["id"]] += 1
    worker.job, worker.since = job, time.monotonic()
    with contextlib.suppress(BrokenPipeError):  # it died idle: reading from it says so
        worker.pipe.send_bytes(json.dumps(job).encode())


def _ended(pool: Sequence[Worker], settings: Execution) -> Iterator[tuple[Worker, Job, Outcome]]:
    """Waits for workers to end their jobs, and ends those that pass a limit."""
    busy = [worker for worker in pool if worker.job]
    ready = wait([worker.pipe for worker in busy], LOOK)
    for worker in busy:
        alive = worker.process.is_alive()
        if worker.pipe in ready and worker.pipe.poll():
            yield worker, *_collect(worker)
        elif not alive or (passed := _passed(worker, settings)):
            yield (
                worker,
                *_lost(worker, ending(worker.process.exitcode or 0) if not alive else passed),
            )


def _passed(worker: Worker, settings: Execution) -> str:
    """Which limit a worker has passed, in words; nothing where it has passed none."""
    if settings.time_limit is not None and time.monotonic() - worker.since > settings.time_limit:
        return (
            f"took longer than the time limit of {settings.time_limit:g} s (execution.time_limit)"
        )
    if settings.memory_limit is not None and worker.megabytes() > settings.memory_limit:
        return f"held more than {settings.memory_limit} MB (execution.memory_limit)"
    return ""


def _collect(worker: Worker) -> tuple[Job, Outcome]:
    """The finished job of a worker and its outcome; state `died` where the worker did not live to tell."""
    try:
        outcome: Outcome = json.loads(worker.pipe.recv_bytes())
    except (EOFError, OSError):  # the pipe ended, between messages or within one
        deadline = time.monotonic() + LAST
        while (
            worker.process.is_alive() and time.monotonic() < deadline
        ):  # a join waits for good where a job closed its files
            time.sleep(0.01)
        return _lost(
            worker,
            ending(worker.process.exitcode) if worker.process.exitcode is not None else CLOSED,
        )
    job, worker.job = worker.job or {}, None
    worker.first = worker.first or worker.megabytes()
    return job, outcome


def _lost(worker: Worker, reason: str) -> tuple[Job, Outcome]:
    """The job of a worker that is ended here, if it has not ended itself."""
    job, worker.job = worker.job or {}, None
    worker.process.kill()
    return job, {"state": "died", "reason": reason}


def ending(code: int) -> str:
    """What the exit code of a worker tells of its end."""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = ", often for want of memory" if -code == signal.SIGKILL else ""
        return f"its worker was ended by {name}{hint}"
    return f"its worker ended itself with exit code {code}"


def _serve(pipe: Connection, perform: Perform, place: Place) -> None:
    """A worker's life: job in, outcome out, until the pipe closes."""
    end_with_parent(
        signal.SIGKILL
    )  # training puts a handler of its own in place of the one for SIGTERM
    os.environ.update(place)
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    let_through(*SIGNALS)
    while True:
        try:
            job = json.loads(pipe.recv_bytes())
        except (EOFError, ConnectionResetError):
            os._exit(0)
        pipe.send_bytes(json.dumps(attempt(perform, job)).encode())
