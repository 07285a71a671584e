"""Killed at any moment, whatever of it is hit: a few of the cases that `make torture` draws at random."""

import signal
import subprocess
import sys
import time

import pytest
from marked import MARK, Run, survivors
from misbehaving import plant
from tiny import RUN, tables, trained, write_clone

from pipeline.config.documents import read_yaml
from pipeline.execution.reproduction import Started

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux shows the processes of others")


@pytest.fixture
def fresh(checkout, tmp_path):
    """A clone in which nothing was run yet."""
    return write_clone(checkout, tmp_path / "fresh")


def hit(run, folder, number, target, runs):
    """Sends the signal as soon as so many runs are finished and there is such a process."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and run.process.poll() is None:
        if len(trained(folder)) >= runs and run.send(number, target) is not None:
            return
        time.sleep(0.02)
    pytest.fail("nothing was hit")


@pytest.mark.parametrize(
    ("number", "target", "runs", "codes"),
    [
        (signal.SIGKILL, "group", 3, {-9}),
        (signal.SIGTERM, "dvc", 12, {1}),
        (signal.SIGINT, "stage", 20, {1}),
    ],
)
def test_it_goes_on_to_the_same_tables(reproduced, checkout, environment, command, fresh, number, target, runs, codes):
    """Nothing lives on, the next run ends well, no finished run is trained again, every table is that of a run in peace."""
    run = Run(fresh, environment)
    hit(run, fresh, number, target, runs)
    code, output = run.end()
    assert code in codes, output
    assert survivors(run.mark) == []
    before = trained(fresh)
    assert len(before) >= runs
    again = command(*RUN, at=fresh)
    assert again.returncode == 0, again.stderr
    assert "Traceback" not in output + again.stdout + again.stderr
    assert {name: when for name, when in trained(fresh).items() if name in before} == before
    assert tables(fresh) == tables(checkout)


def test_the_death_of_a_worker_costs_one_try(reproduced, checkout, environment, fresh):
    run = Run(fresh, environment)
    hit(run, fresh, signal.SIGKILL, "worker", 1)
    code, output = run.end()
    assert code == 0, output
    assert "Traceback" not in output
    assert tables(fresh) == tables(checkout)
    assert survivors(run.mark) == []


@pytest.mark.parametrize(("target", "runs"), [("group", 1), ("command", 0)])
def test_interrupted_it_ends_in_good_order(environment, fresh, target, runs):
    """Control-C reaches the whole group, `kill -INT` the command alone: nothing survives, dvc.lock parses, a clear last line."""
    run = Run(fresh, environment)
    if target == "group":
        hit(run, fresh, signal.SIGINT, target, runs)
    else:
        while not (fresh / "dvc.lock").exists():
            time.sleep(0.02)
        run.process.send_signal(signal.SIGINT)
    code, output = run.end()
    assert code == 130, output
    assert "Traceback" not in output
    assert output.endswith("interrupted; what is finished is kept: run again to go on\n")
    assert "stages" in read_yaml(fresh / "dvc.lock")
    assert survivors(run.mark) == []


def hanging(folder, environment):
    """A run in which a worker hangs."""
    mark = folder.parent / "hanging"
    run = Run(folder, environment | {"HANG": str(mark)})
    while not mark.exists() and run.process.poll() is None:
        time.sleep(0.02)
    return run


def test_a_run_that_hangs_ends_with_its_stage(environment, fresh):
    """Lightning has put its own handler in place of the one for SIGTERM by then."""
    plant(fresh)
    run = hanging(fresh, environment)
    assert run.send(signal.SIGKILL, "stage") == "confirm"
    code, output = run.end()
    assert (code, run.clear()) == (1, 0)
    assert "Traceback" not in output


def test_interrupted_while_failed_runs_are_tried_again_it_ends_in_good_order(copied, environment, command):
    plant(copied)
    assert command(*RUN, "--keep-going", at=copied, FAIL="1").returncode == 0
    run = hanging(copied, environment)
    assert run.send(signal.SIGINT, "group") == "confirm"
    code, output = run.end()
    assert (code, run.clear()) == (130, 0)
    assert "Traceback" not in output
    again = command(*RUN, at=copied)
    assert again.returncode == 0, again.stdout + again.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("words", [("pipeline.train", "tiny"), ("pipeline", "run")])
@pytest.mark.parametrize("seconds", [0.2, 0.8])
def test_killed_during_its_imports_a_stage_leaves_nothing(environment, fresh, number, words, seconds):
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=fresh,
        env=environment | {MARK: str(fresh)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(seconds)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (-number, "")
    assert not {"artifacts", ".runs", "dvc.lock", "reports"} & {path.name for path in fresh.iterdir()}
    assert survivors(str(fresh)) == []


@pytest.mark.parametrize("start", [Started, subprocess.Popen])
def test_an_interrupt_before_any_line_of_ours_ends_a_stage_without_a_traceback(start, tmp_path, checkout, environment):
    """It comes while Python imports its own modules; plainly started, Python shows where it was."""
    (tmp_path / "sitecustomize.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    process = start(
        [sys.executable, "-m", "pipeline.compare", "tiny"],
        cwd=checkout,
        env=environment | {"PYTHONPATH": str(tmp_path), "DVC_STAGE": "compare@tiny"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite run in the background is deaf to it
    )
    _, said = process.communicate(timeout=60)
    if start is Started:
        assert (process.returncode, said) == (-signal.SIGINT, "")
    else:
        assert "Traceback" in said
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
