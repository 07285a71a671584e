"""The pool: every job ends once, whatever its worker does."""

import errno
import os
import platform
import signal
import subprocess
import sys
import time

import pytest

from pipeline.config.errors import Refusal
from pipeline.config.schema import Execution
from pipeline.execution.processes import run_jobs


def work(job):
    """What the job asks for."""
    match job["do"]:
        case "raise":
            raise ValueError("no good")
        case "exit":
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "once" if not os.path.exists(job["mark"]):
            open(job["mark"], "w").close()
            os._exit(1)
        case "full":
            raise OSError(errno.ENOSPC, "No space left on device", "/some/file")
        case "sleep":
            time.sleep(30)
    return {"state": "done", "reason": "", "pid": os.getpid()}


def ended(jobs, workers=2):
    return {job["id"]: outcome for job, outcome in run_jobs(jobs, work, Execution(workers=workers))}


def test_every_job_ends_once_on_workers_that_live_on():
    results = list(run_jobs([{"id": str(number), "do": "run"} for number in range(20)], work, Execution(workers=2)))
    assert sorted(job["id"] for job, _ in results) == sorted(str(number) for number in range(20))
    assert len({outcome["pid"] for _, outcome in results}) == 2
    assert os.getpid() not in {outcome["pid"] for _, outcome in results}


@pytest.mark.parametrize(
    ("do", "reason"),
    [("raise", "ValueError: no good"), ("exit", "exit code 7"), ("kill", "SIGKILL, often for want of memory")],
)
def test_a_bad_job_fails_with_its_reason_and_the_others_finish(do, reason):
    results = ended([{"id": "bad", "do": do}, *({"id": str(number), "do": "run"} for number in range(6))])
    assert results["bad"]["state"] == "failed"
    assert reason in results["bad"]["reason"]
    assert sum(outcome["state"] == "done" for outcome in results.values()) == 6


def test_a_job_whose_worker_died_once_is_tried_again(tmp_path):
    assert ended([{"id": "a", "do": "once", "mark": str(tmp_path / "mark")}])["a"]["state"] == "done"


def test_no_worker_outlives_the_pool():
    results = run_jobs([{"id": "a", "do": "run"}, {"id": "b", "do": "sleep"}], work, Execution(workers=2))
    _, outcome = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(outcome["pid"], 0)


def test_a_full_disk_stops_everything_with_one_line():
    with pytest.raises(Refusal, match="/some/file: the disk is full; free some space and run again: finished runs are kept"):
        ended([{"id": "a", "do": "full"}, {"id": "b", "do": "sleep"}])


def test_no_jobs_need_no_workers():
    assert ended([]) == {}


FAULTS = """
import resource, sys
import numpy as np
from pipeline.execution.processes import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
[np.ones(1 << 17) for _ in range(16)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    [np.ones(1 << 17) for _ in range(16)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone can be told")
def test_a_worker_uses_freed_memory_again():
    """Page faults of allocating sixteen arrays of 1 MiB and freeing them, twenty times."""
    command = [sys.executable, "-c", FAULTS]
    given_back, kept = (int(subprocess.run([*command, how], capture_output=True, check=True).stdout) for how in ("", "kept"))
    assert given_back > 10_000
    assert kept < 1_000
