"""A grid with runs that fail in every way: each is classified, the others finish."""

import errno
import os
import signal
import time

import psutil
import pytest
from tiny import trained
from waiting import wait_until

from pipeline import prepare
from pipeline.config.parameters import Execution
from pipeline.config.plan import read_plan
from pipeline.data.prepared import read_summary
from pipeline.execution import scheduler
from pipeline.execution.jobs import run_guarded
from pipeline.execution.scheduler import complete
from pipeline.execution.stage import report_errors
from pipeline.planning.rounds import explore
from pipeline.planning.studies import read_experiment
from pipeline.records.runs import read_record
from pipeline.records.store import open_store

LIMITS = {"time_limit": 6.0, "memory_limit": 1500, "workers": 2}
WAYS = {  # way -> state and reason in the record
    "raises": ("failed", "ValueError: no good (test_scheduler.py, line "),
    "hangs": ("failed", "took longer than the time limit of 6 s (execution.time_limit)"),
    "exhausts": ("failed", "held more than 1500 MB (execution.memory_limit)"),
    "asks for all": ("failed", "MemoryError: "),
    "leaves": ("failed", "its worker exited with code 7"),
    "is ended": ("failed", "its worker was ended by SIGKILL, often because memory ran out"),
    "diverges": ("diverged", "the train loss is nan after epoch 1"),
}


def behave(way):
    """Return what a run does in each way."""
    match way:
        case "raises":
            raise ValueError("no good")
        case "hangs":
            time.sleep(60)
        case "exhausts":
            held = b"x" * ((1600 << 20) - psutil.Process().memory_info().rss)
            time.sleep(60)
            del held
        case "asks for all":
            bytearray(1 << 60)
        case "leaves":
            os._exit(7)
        case "is ended":
            os.kill(os.getpid(), signal.SIGKILL)


def perform(job):
    """Perform a run: the first go wrong, one in each way; the others are done."""
    ways = dict(zip(sorted(job["all"]), WAYS, strict=False))
    way = job.get("way") or ways.get(job["id"], "")
    behave(way)
    state, reason = WAYS[way] if way == "diverges" else ("done", "")
    record = {"state": state, "reason": reason, "audit": {}, "cost": {}, "machine": {}}
    open_store().write(
        job["id"], {"weights.safetensors": job["id"].encode()}, record, {"seconds": 1.0}
    )
    return {"state": state, "reason": reason}


@pytest.fixture
def grid(project, monkeypatch):
    """Complete the exploration of the tiny protocol with hostile runs; return its exit code."""
    prepare.main("tiny")
    planned = explore(lambda tuned: read_experiment("tiny", tuned=tuned), "", {})
    plan, identities = planned.plan, planned.identities
    folder = project / "artifacts" / "tiny"

    def ran(perform=perform, **more):
        def hostile(job):
            return perform({**job, "all": list(identities)})

        monkeypatch.setattr(scheduler, "load", lambda entry: hostile)
        return report_errors(
            lambda: complete(
                plan, identities, "", open_store(), folder, Execution(**LIMITS, **more), {}
            )
        )

    return ran


def recorded(project):
    """Return fingerprint -> its record in the assembled exploration, in order of fingerprints."""
    folder = project / "artifacts" / "tiny" / "exploration"
    return {name: read_record(folder / name) for name in sorted(read_plan(folder).fingerprints())}


def test_every_way_of_going_wrong_is_classified_and_tried_again_and_the_others_finish(
    grid, project, capsys
):
    assert grid() == 1
    records = recorded(project)
    for record, (state, reason) in zip(records.values(), WAYS.values(), strict=False):
        assert record["state"] == state
        assert record["reason"].startswith(reason)
    states = [record["state"] for record in records.values()]
    assert states.count("done") == len(records) - len(WAYS)
    errors = capsys.readouterr().err
    assert errors.startswith(f"{len(WAYS) - 1} of {len(records)} runs failed:\n")
    assert all(reason in errors for state, reason in WAYS.values() if state == "failed")

    before = trained(project)
    assert grid(perform=lambda job: perform({**job, "all": []})) == 0
    states = [record["state"] for record in recorded(project).values()]
    assert sorted(states) == ["diverged"] + ["done"] * (len(states) - 1)
    after = trained(project)
    assert sum(after[name] != before[name] for name in after) == len(WAYS) - 1


def test_asked_to_keep_going_the_stage_succeeds_and_counts_what_failed(grid, project):
    def failing(job):
        if job["id"] in sorted(job["all"])[:2]:
            raise ValueError("no good")
        return perform({**job, "all": []})

    assert grid(perform=failing, keep_going=True) == 0
    states = [record["state"] for record in recorded(project).values()]
    assert states == ["failed"] * 2 + ["done"] * (len(states) - 2)


def test_a_finished_run_that_is_damaged_before_the_end_of_the_stage_ends_it_in_a_line(
    grid, project, capsys
):
    """The first run is done; the last finds it corrupted, as a disk may do or another process."""

    def damaging(job):
        first, last = min(job["all"]), max(job["all"])
        if job["id"] == last:
            wait_until(lambda: open_store().finished(first))
            (open_store().folder(first) / "weights.safetensors").write_bytes(b"1")
        return perform({**job, "all": []})

    assert grid(perform=damaging) == 1
    errors = capsys.readouterr().err
    assert errors.endswith(
        ": corrupted or removed since it was trained, the first of 1 such runs; run again\n"
    )
    folder = project / "artifacts" / "tiny" / "exploration"
    names = read_plan(folder).fingerprints()
    assert sum((folder / name).is_dir() for name in names) == len(names) - 1


def test_a_full_disk_ends_the_stage_in_one_line_and_keeps_what_is_done(grid, project, capsys):
    def full(job):
        if job["id"] == sorted(job["all"])[-1]:
            raise OSError(errno.ENOSPC, "No space left on device", "/some/file")
        return perform({**job, "all": []})

    assert grid(perform=full) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: /some/file: the disk is full; ")
    assert errors.count("\n") == 1


PRETRAINED = """
data: {dataset: digits, classes: [0, 1, 2, 3, 4], train_size: 30, test_fraction: 0.4}
model: {name: resnet, widths: [4, 8], blocks: 1, hidden: 8, grid: 1}
training: {learning_rate: 0.05, epochs: 2, batch_size: 10, curve_points: 2}
pretraining: {others: {data: {classes: [5, 6, 7], train_size: 30}}}
seeds: {exploration: 3, confirmation: 3}
studies: [modes]
"""
MODES = """
question: Why?
arms:
  probe: [{protocol: {start.from: others, start.train: [head, head_then_all]}}]
"""


def test_what_starts_from_a_run_that_failed_or_diverged_fails_with_that_reason(
    project, monkeypatch, capsys
):
    """All others end, each after the run that it starts from, on the data that are its own."""
    (project / "experiments" / "protocols" / "tiny.yaml").write_text(PRETRAINED)
    (project / "experiments" / "modes.yaml").write_text(MODES)
    prepare.main("tiny")
    folder = project / "artifacts" / "tiny"
    pool_digests = read_summary(folder / "data")["pretraining"]
    planned = explore(
        lambda tuned: read_experiment("tiny", tuned=tuned), "", {}, pool_digests=pool_digests
    )
    plan = planned.plan
    others = {start.fingerprint: start.seed for start in plan.starts if start.name == "others"}
    ways = {0: "raises", 1: "diverges"}
    started = []

    def training(job):
        started.append(job)
        way = ways.get(others.get(job["id"]), "")
        place = "data/pretraining/others" if job["id"] in others else "data"
        assert job["data"] == str(folder / place)
        start = job["identity"].get("starts_from")
        assert start is None or open_store().state(start) == "done"
        return perform({"id": job["id"], "all": [], "way": way})

    monkeypatch.setattr(scheduler, "load", lambda entry: training)
    monkeypatch.setattr(
        scheduler, "_run_jobs", lambda jobs, run, *_: ((job, run_guarded(run, job)) for job in jobs)
    )
    arguments = plan, planned.identities, "", open_store(), folder, Execution(workers=1), {}
    assert report_errors(lambda: complete(*arguments)) == 1
    seeds = {run.fingerprint: run.seed for run in plan.runs}
    states = {(run.arm, run.seed): open_store().state(run.fingerprint) for run in plan.runs}
    assert {key: states[key] for key in states if key[0] == "baseline"} == {
        ("baseline", seed): "done" for seed in range(3)
    }
    assert [states["probe", seed] for seed in range(3)] == ["failed", "failed", "done"]
    assert {seeds[job["id"]] for job in started if job["id"] in seeds} == {0, 1, 2}
    errors = capsys.readouterr().err
    assert "others, seed 0, which failed: ValueError: no good" in errors
    assert "others, seed 1, which diverged: the train loss is nan" in errors

    ways.clear()  # the next attempt trains the failed one and what waits for it
    started.clear()
    assert report_errors(lambda: complete(*arguments)) == 1
    again = [job["id"] for job in started]
    assert others[again[0]] == 0
    assert {run.seed for run in plan.runs if run.fingerprint in again} == {0}
    copied = {path.name for path in (folder / "exploration").iterdir() if path.is_dir()}
    assert copied == set(plan.trained())
