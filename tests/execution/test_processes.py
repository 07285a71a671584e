"""The pool: every job ends once, whatever its worker does."""

import errno
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from misbehaving import misbehave
from waiting import wait_until

from pipeline.config.parameters import Execution
from pipeline.execution.processes import run_jobs, worker_environments
from pipeline.runtime.errors import Refusal

HELD = []  # what a job leaves behind in its worker
FOREVER = 600  # seconds of a job that has to be ended


def work(job):
    """Return what the job asks for."""
    misbehave(job["do"])
    match job["do"]:
        case "once" if not os.path.exists(job["mark"]):
            open(job["mark"], "w").close()
            os._exit(1)
        case "full":
            raise OSError(errno.ENOSPC, "No space left on device", "/some/file")
        case "sleep":
            time.sleep(FOREVER)
        case "fork and exit" if os.fork():
            os._exit(7)
        case "fork and exit":
            time.sleep(20)
            os._exit(0)
        case "close":
            os.closerange(3, 100)  # its pipe too
            time.sleep(FOREVER)
        case "real time signal":
            os.kill(os.getpid(), signal.SIGRTMIN + 3)
        case "untellable":
            return {"state": "done", "what": object()}
        case "grow":
            HELD.append(bytearray(os.urandom(1 << 20) * job["megabytes"]))
            time.sleep(job.get("seconds", 0))
    return {"state": "done", "reason": "", "pid": os.getpid()}


def ended(jobs, workers=2, **limits):
    return {
        job["id"]: outcome
        for job, outcome in run_jobs(jobs, work, Execution(workers=workers, **limits))
    }


def test_every_job_ends_once_on_workers_that_live_on():
    results = list(
        run_jobs(
            [{"id": str(number), "do": "run"} for number in range(20)], work, Execution(workers=2)
        )
    )
    assert sorted(job["id"] for job, _ in results) == sorted(str(number) for number in range(20))
    assert len({outcome["pid"] for _, outcome in results}) == 2
    assert os.getpid() not in {outcome["pid"] for _, outcome in results}


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        ("raise", "ValueError: no good"),
        ("exit", "exited with code 7"),
        ("kill", "SIGKILL, often because memory ran out"),
        ("fork and exit", "exited with code 7"),
        ("real time signal", "was ended by signal 37"),
        ("close", "its worker closed its pipe but is still running"),
        ("untellable", "TypeError: Object of type object is not JSON serializable"),
    ],
)
def test_a_bad_job_fails_with_its_reason_and_the_others_finish(do, reason):
    results = ended(
        [{"id": "bad", "do": do}, *({"id": str(number), "do": "run"} for number in range(6))]
    )
    assert results["bad"]["state"] == "failed"
    assert reason in results["bad"]["reason"]
    assert sum(outcome["state"] == "done" for outcome in results.values()) == 6


def test_a_job_whose_worker_died_once_is_tried_again(tmp_path):
    assert (
        ended([{"id": "a", "do": "once", "mark": str(tmp_path / "mark")}])["a"]["state"] == "done"
    )


def others(number=6):
    return [{"id": str(number), "do": "run"} for number in range(number)]


@pytest.mark.parametrize(
    ("job", "limits", "reason"),
    [
        (
            {"do": "sleep"},
            {"time_limit": 2.0},
            "took longer than the time limit of 2 s (execution.time_limit)",
        ),
        (
            {"do": "grow", "megabytes": 2000, "seconds": FOREVER},
            {"memory_limit": 1500},
            "held more than 1500 MB (execution.memory_limit)",
        ),
    ],
)
def test_a_job_past_a_limit_is_ended_and_the_others_finish(job, limits, reason):
    began = time.monotonic()
    results = ended([{"id": "bad", **job}, *others()], **limits)
    assert time.monotonic() - began < FOREVER / 2
    assert results["bad"]["state"] == "failed"
    assert results["bad"]["reason"] == reason
    assert sum(outcome["state"] == "done" for outcome in results.values()) == 6


def test_within_its_limits_nothing_is_ended():
    results = ended(others(), time_limit=20, memory_limit=8000)
    assert {outcome["state"] for outcome in results.values()} == {"done"}


def test_a_worker_that_grows_gives_its_place_to_a_fresh_one():
    """Jobs of 200 MB that are never freed: nobody holds more than two of them."""
    jobs = [{"id": str(number), "do": "grow", "megabytes": 200} for number in range(8)]
    workers = [outcome["pid"] for outcome in ended(jobs, workers=1).values()]
    assert 3 <= len(set(workers)) <= 4
    steady = [outcome["pid"] for outcome in ended(others(8), workers=1).values()]
    assert len(set(steady)) == 1


def test_an_exception_brings_its_traceback():
    outcome = ended([{"id": "bad", "do": "raise"}])["bad"]
    assert outcome["traceback"].splitlines()[-1] == "ValueError: no good"
    assert 'raise ValueError("no good")' in outcome["traceback"]


def gpus(monkeypatch, count, visible=""):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


@pytest.mark.parametrize(
    ("count", "visible", "settings", "expected"),
    [
        (0, "", {"workers": 3}, [None, None, None]),
        (2, "", {"accelerator": "cpu", "workers": 1}, [None]),
        (2, "", {"runs_per_gpu": 2}, ["0", "1", "0", "1"]),
        (2, "4,7", {"runs_per_gpu": 1}, ["4", "7"]),
        (2, "", {"workers": 3}, ["0", "1", "0"]),
        (5, "", {"devices": 2}, ["0,1", "2,3"]),
        (0, "", {"devices": 2, "workers": 1}, [None]),
    ],
)
def test_gpus_are_shared_out_over_the_workers(monkeypatch, count, visible, settings, expected):
    gpus(monkeypatch, count, visible)
    assert [
        place.get("CUDA_VISIBLE_DEVICES") for place in worker_environments(Execution(**settings))
    ] == expected


@pytest.mark.parametrize(("count", "settings"), [(0, {"accelerator": "gpu"}), (1, {"devices": 2})])
def test_more_gpus_than_exist_raise(monkeypatch, count, settings):
    gpus(monkeypatch, count)
    with pytest.raises(
        Refusal,
        match=rf"^params.yaml: execution.devices: invalid value .; expected an integer <= {count} ",
    ):
        worker_environments(Execution(**settings))


def test_a_worker_sees_the_gpu_of_its_place(monkeypatch, tmp_path):
    gpus(monkeypatch, 2)
    jobs = [{"id": name, "folder": str(tmp_path)} for name in ("a", "b")]
    outcomes = run_jobs(jobs, visible_gpus, Execution(runs_per_gpu=1))
    assert {outcome["gpu"] for _, outcome in outcomes} == {"0", "1"}


def visible_gpus(job):
    """Return the GPUs that a job may see, as soon as each worker has one of the two jobs."""
    folder = Path(job["folder"])
    (folder / job["id"]).touch()
    wait_until(lambda: len(list(folder.iterdir())) == 2)
    return {"state": "done", "gpu": os.environ["CUDA_VISIBLE_DEVICES"]}


def test_no_worker_outlives_the_pool():
    results = run_jobs(
        [{"id": "a", "do": "run"}, {"id": "b", "do": "sleep"}], work, Execution(workers=2)
    )
    _, outcome = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(outcome["pid"], 0)


def test_a_full_disk_stops_everything_with_one_line():
    with pytest.raises(
        Refusal,
        match="/some/file: the disk is full; free some space and run again: finished runs are kept",
    ):
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
    given_back, kept = (
        int(subprocess.run([*command, how], capture_output=True, check=True).stdout)
        for how in ("", "kept")
    )
    assert given_back > 10_000
    assert kept < 1_000


@pytest.mark.skipif(
    not sys.platform.startswith("linux"),
    reason="only a fork meets a signal with its parent's handlers",
)
def test_a_signal_to_a_worker_that_has_just_been_forked_ends_it_without_a_word(capfd):
    """Python runs hooks after a fork, before any line of ours: no handler of a stage there."""
    pid, hooked = os.getpid(), []

    def after_fork():
        if not hooked and os.getpid() != pid:
            hooked.append(os.kill(os.getpid(), signal.SIGTERM))

    os.register_at_fork(after_in_child=after_fork)
    before = signal.signal(signal.SIGTERM, lambda *given: sys.exit(143))
    try:
        outcome = ended([{"id": "a", "do": "run"}])["a"]
    finally:
        signal.signal(signal.SIGTERM, before)
        hooked.append(None)
    assert outcome["reason"] == "its worker was ended by SIGTERM"
    assert "Traceback" not in capfd.readouterr().err
