"""Run jobs in a pool of single-thread workers on this machine that live for many jobs.

A worker that dies or passes a limit takes its job with it, not the pool: a fresh worker tries the
job once more. Messages are JSON, so that nothing is unpickled.
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
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import psutil

from pipeline.config.parameters import PARAMETERS, Execution
from pipeline.config.validation import invalid
from pipeline.execution.jobs import Job, Outcome, Perform, run_guarded
from pipeline.runtime.errors import Refusal
from pipeline.runtime.signals import end_with_parent, signals_blocked, unblock_signals

TRIES = 2
GROWTH = 256  # megabytes a worker may gain after its first job before a fresh one replaces it
SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOK_SECONDS = 0.2  # between two looks at workers and their limits
LAST_SECONDS = 1.0  # that a worker without its pipe has to end
MEGABYTE = 1 << 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
TRIM_BYTES, MMAP_BYTES = 1 << 30, 1 << 25  # bytes
Environment = Mapping[str, str]


@dataclass
class Worker:
    """A process and the pipe to it; `job` is the one in progress, since `since` (seconds)."""

    process: BaseProcess
    pipe: Connection
    environment: Environment
    job: Job | None = None
    since: float = 0.0
    first: float = 0.0  # megabytes it held after its first job

    def megabytes(self) -> float:
        """Return its memory; 0 for a worker that has ended."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return float(psutil.Process(self.process.pid).memory_info().rss) / MEGABYTE
        return 0.0

    def end(self) -> None:
        """Kill the process and close the pipe."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_jobs(
    jobs: Sequence[Job], perform: Perform, settings: Execution
) -> Iterator[tuple[Job, Outcome]]:
    """Perform every job and yield (job, outcome) as each ends; workers end with this generator.

    An outcome has at least `state`. An exception in a job, and a worker that ends or passes a limit
    of `settings` in both tries, is the outcome {"state": "failed", "reason": ...}.

    Args:
        jobs: The jobs, in the order in which they start.
        perform: The function that does a job; a function of a module.
        settings: The number of workers, devices and limits.

    Raises:
        Refusal: A job met bad input or a disk that cannot be written, or there are too few GPUs.
    """
    queue, tries = deque(jobs), Counter[str]()
    environments = worker_environments(settings)[: len(jobs)]
    pool = [_start(perform, environment) for environment in environments]
    try:
        while queue or any(worker.job for worker in pool):
            for worker in pool:
                if worker.job is None and queue:
                    _give(worker, queue.popleft(), tries)
            for worker, job, outcome in _ended(pool, settings):
                state = outcome["state"]
                if state == "died" or worker.megabytes() > worker.first + GROWTH:
                    worker.end()
                    pool[pool.index(worker)] = _start(perform, worker.environment)
                if state == "refused":
                    raise Refusal(*outcome["reason"].splitlines())
                if state != "died":
                    yield job, outcome
                elif tries[job["id"]] < TRIES:
                    queue.append(job)
                else:
                    yield job, {**outcome, "state": "failed"}
    finally:
        for worker in pool:
            worker.end()


def worker_environments(settings: Execution) -> list[Environment]:
    """Return the environment variables of each worker: the GPUs it may use, shared out evenly.

    Args:
        settings: The accelerator, and the numbers of workers and devices.

    Raises:
        Refusal: A run needs more GPUs than there are.
    """
    gpus = [] if settings.accelerator == "cpu" else _gpus()
    if not gpus and settings.accelerator != "gpu":
        return [{}] * (settings.workers or max(1, cores() // settings.devices))
    size = settings.devices
    if len(gpus) < size:
        expected = f"an integer <= {len(gpus)} (the GPUs here)"
        raise Refusal(invalid(f"{PARAMETERS}: execution.devices", size, expected))
    groups = [gpus[start : start + size] for start in range(0, len(gpus) - size + 1, size)]
    count = settings.workers or len(groups) * (settings.runs_per_gpu if size == 1 else 1)
    return [
        {"CUDA_VISIBLE_DEVICES": ",".join(groups[number % len(groups)])} for number in range(count)
    ]


def _gpus() -> list[str]:
    """Return the names of the GPUs that this process may use."""
    import torch  # here, since commands import this file only for the number of processors

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if len(named) >= count and all(named):
        return named[:count]
    return [str(number) for number in range(count)]


def cores() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Reuse freed memory, which glibc otherwise returns to the system at every training step.

    Saves the page faults of allocating it again: about a tenth of a run on images of 28x28.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
        library.mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)


def _start(perform: Perform, environment: Environment) -> Worker:
    fork = sys.platform.startswith("linux") and not environment  # a GPU does not survive a fork
    context: Any = multiprocessing.get_context("fork" if fork else "spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, perform, dict(environment)), daemon=True)
    with signals_blocked(*SIGNALS):  # or the fork would handle them as this process does
        process.start()
    there.close()
    return Worker(process, here, environment)


def _give(worker: Worker, job: Job, tries: Counter[str]) -> None:
    tries[job["id"]] += 1
    worker.job, worker.since = job, time.monotonic()
    with contextlib.suppress(BrokenPipeError):  # it died idle, which reading from it shows
        worker.pipe.send_bytes(json.dumps(job).encode())


def _ended(pool: Sequence[Worker], settings: Execution) -> Iterator[tuple[Worker, Job, Outcome]]:
    """Wait for workers to end their jobs; end those that pass a limit."""
    busy = [worker for worker in pool if worker.job]
    ready = wait([worker.pipe for worker in busy], LOOK_SECONDS)
    for worker in busy:
        alive = worker.process.is_alive()
        if worker.pipe in ready and worker.pipe.poll():
            yield worker, *_collect(worker)
        elif not alive:
            yield worker, *_lost(worker, exit_reason(worker.process.exitcode or 0))
        elif limit := _passed_limit(worker, settings):
            yield worker, *_lost(worker, limit)


def _passed_limit(worker: Worker, settings: Execution) -> str:
    """Return the limit that a worker has passed, in words; "" for none."""
    seconds, megabytes = settings.time_limit, settings.memory_limit
    if seconds is not None and time.monotonic() - worker.since > seconds:
        return f"took longer than the time limit of {seconds:g} s (execution.time_limit)"
    if megabytes is not None and worker.megabytes() > megabytes:
        return f"held more than {megabytes} MB (execution.memory_limit)"
    return ""


def _collect(worker: Worker) -> tuple[Job, Outcome]:
    """Return the finished job of a worker and its outcome; state `died` if the worker ended."""
    try:
        outcome: Outcome = json.loads(worker.pipe.recv_bytes())
    except (EOFError, OSError):  # the pipe ended, between messages or within one
        deadline = time.monotonic() + LAST_SECONDS
        while worker.process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)  # a join waits without end where a job has closed its files
        code = worker.process.exitcode
        closed = "its worker closed its pipe but is still running"
        return _lost(worker, closed if code is None else exit_reason(code))
    job, worker.job = worker.job or {}, None
    worker.first = worker.first or worker.megabytes()
    return job, outcome


def _lost(worker: Worker, reason: str) -> tuple[Job, Outcome]:
    """End a worker and return its job."""
    job, worker.job = worker.job or {}, None
    worker.process.kill()
    return job, {"state": "died", "reason": reason}


def exit_reason(code: int) -> str:
    """Return in words how a worker ended; negative exit codes are signals.

    Args:
        code: The exit code of the process.
    """
    if code >= 0:
        return f"its worker exited with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = ", often because memory ran out" if -code == signal.SIGKILL else ""
    return f"its worker was ended by {name}{hint}"


def _serve(pipe: Connection, perform: Perform, environment: Environment) -> None:
    """Perform jobs from the pipe until it closes: the life of a worker."""
    end_with_parent(signal.SIGKILL)  # training replaces the handler of SIGTERM
    os.environ.update(environment)
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    unblock_signals(*SIGNALS)
    while True:
        try:
            job = json.loads(pipe.recv_bytes())
        except (EOFError, ConnectionResetError):
            os._exit(0)
        pipe.send_bytes(json.dumps(run_guarded(perform, job)).encode())
