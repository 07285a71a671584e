"""A pool of single-thread workers on this machine that live for many jobs.

Separate from the scheduler, which knows runs: here a job is plain values with an id. A worker that dies
takes its job with it, not the pool; the job is tried once more by a fresh worker. Messages are JSON, so
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
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from pipeline.config.errors import Refusal
from pipeline.config.schema import Execution
from pipeline.execution.attempts import Job, Outcome, Perform, attempt
from pipeline.execution.stage import end_with_parent

TRIES = 2
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT, MAPPED = 1 << 30, 1 << 25  # bytes


@dataclass
class Worker:
    """A process and the pipe to it; `job` is the one it works on."""

    process: BaseProcess
    pipe: Connection
    job: Job | None = None


def run_jobs(jobs: Sequence[Job], perform: Perform, settings: Execution, allowed: int = TRIES) -> Iterator[tuple[Job, Outcome]]:
    """Performs every job and yields (job, outcome) as each ends; an outcome has at least `state`.

    An exception in a job, or the death of its worker in as many tries as are `allowed`, is the outcome {"state": "failed",
    "reason"}, with `died` in the latter case; bad input and a full or read-only disk are everybody's and raise Refusal.
    Every worker has ended when this generator has.
    """
    queue = deque(jobs)
    tries: dict[str, int] = {}
    pool = [_start(perform) for _ in range(min(settings.workers or cores(), len(jobs)))]
    try:
        while queue or any(worker.job for worker in pool):
            for worker in pool:
                if worker.job is None and queue:
                    _give(worker, queue.popleft(), tries)
            busy = [worker for worker in pool if worker.job]
            ready = wait([worker.pipe for worker in busy])
            for worker in [worker for worker in busy if worker.pipe in ready]:
                job, outcome = _collect(worker)
                if outcome["state"] == "died":
                    pool[pool.index(worker)] = _start(perform)
                    if tries[job["id"]] < allowed:
                        queue.append(job)
                        continue
                    outcome["state"] = "failed"
                if outcome["state"] == "refused":
                    raise Refusal(*outcome["reason"].splitlines())
                yield job, outcome
    finally:
        for worker in pool:
            worker.process.kill()
            worker.process.join()


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


def _start(perform: Perform) -> Worker:
    context: Any = multiprocessing.get_context("fork" if sys.platform.startswith("linux") else "spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, perform), daemon=True)
    process.start()
    there.close()
    return Worker(process, here)


def _give(worker: Worker, job: Job, tries: dict[str, int]) -> None:
    tries[job["id"]] = tries.get(job["id"], 0) + 1
    worker.job = job
    with contextlib.suppress(BrokenPipeError):  # it died idle: reading from it says so
        worker.pipe.send_bytes(json.dumps(job).encode())


def _collect(worker: Worker) -> tuple[Job, Outcome]:
    """The finished job of a worker and its outcome; state `died` where the worker did not live to tell."""
    job = worker.job or {}
    worker.job = None
    try:
        outcome: Outcome = json.loads(worker.pipe.recv_bytes())
        return job, outcome
    except (EOFError, ConnectionResetError):
        worker.process.join()
        return job, {"state": "died", "died": True, "reason": _ending(worker.process.exitcode or 0)}


def _ending(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", often for want of memory" if -code == signal.SIGKILL else ""
        return f"its worker was ended by {name}{hint}"
    return f"its worker ended itself with exit code {code}"


def _serve(pipe: Connection, perform: Perform) -> None:
    """A worker's life: job in, outcome out, until the pipe closes."""
    end_with_parent()
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            job = json.loads(pipe.recv_bytes())
        except (EOFError, ConnectionResetError):
            os._exit(0)
        pipe.send_bytes(json.dumps(attempt(perform, job)).encode())
