"""Killed at any moment: a few of the cases that `make torture` draws at random."""

import shutil
import signal
import subprocess
import sys

import psutil
import pytest
from marked import MARK, Run, survivors
from tiny import RUN, tables, trained, write_clone
from waiting import PATIENCE, wait_until

from pipeline.config.yaml_files import read_yaml
from pipeline.execution.processes import cores

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux shows the processes of others"
)


@pytest.fixture
def fresh(checkout, tmp_path):
    """Return a clone in which nothing was run yet."""
    return write_clone(checkout, tmp_path / "fresh")


def hit(run, folder, number, target, runs):
    """Send the signal as soon as so many runs are finished."""
    wait_until(lambda: len(trained(folder)) >= runs or run.process.poll() is not None)
    assert run.send(number, target) is not None, "nothing was hit"


def interrupt_twice(folder, environment, words, moments):
    """Hit a command by Control-C, then again by SIGKILL, each after so many finished runs.

    Both reach the whole group. No process lives on, and no finished run is trained again.

    Returns:
        The finished runs.
    """
    finished = {}
    signals = ((signal.SIGINT, 130), (signal.SIGKILL, -9))
    for (number, expected), runs in zip(signals, moments, strict=True):
        run = Run(folder, environment, words)
        hit(run, folder, number, "group", runs)
        code, output = run.end()
        assert code == expected, output
        assert "Traceback" not in output
        ended = trained(folder)
        assert survivors(run.mark) == []
        # what was slow to die has trained on for a moment, not to the end of its stage
        assert len(trained(folder)) - len(ended) <= cores()
        if code == 130 and words == RUN:
            assert output.splitlines()[-1].startswith("interrupted; ")
        before, finished = finished, trained(folder)
        assert before.items() <= finished.items()
    return finished


@pytest.mark.long
def test_a_stage_goes_on_to_the_same_runs(reproduced, checkout, environment, fresh):
    prepared = fresh / "artifacts" / "tiny" / "data"
    shutil.copytree(checkout / "artifacts" / "tiny" / "data", prepared)
    stage = (sys.executable, "-m", "pipeline.train", "tiny")
    finished = interrupt_twice(fresh, environment, stage, (1, 4))
    code, output = Run(fresh, environment, stage).end()
    assert code == 0, output
    assert finished.items() <= trained(fresh).items()
    phase = "artifacts/tiny/exploration"
    assert contents(fresh / phase) == contents(checkout / phase)


@pytest.mark.torture
def test_a_run_goes_on_to_the_same_tables(reproduced, checkout, environment, fresh):
    """`benchmarks/torture.py` has ten more ways, at random moments."""
    finished = interrupt_twice(fresh, environment, RUN, (1, 12))
    assert "stages" in read_yaml(fresh / "dvc.lock")
    code, output = Run(fresh, environment).end()
    assert code == 0, output
    assert finished.items() <= trained(fresh).items()
    assert tables(fresh) == tables(checkout)


def contents(folder):
    """Return the content of every file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("number", "words", "seconds"),
    [
        (signal.SIGINT, ("pipeline", "run"), 0.2),
        (signal.SIGINT, ("pipeline.train", "tiny"), 0.8),
        (signal.SIGTERM, ("pipeline.train", "tiny"), 0.2),
        (signal.SIGKILL, ("pipeline", "run"), 0.8),
    ],
)
def test_killed_during_its_imports_a_stage_leaves_nothing(
    environment, fresh, number, words, seconds
):
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=fresh,
        env=environment | {MARK: str(fresh)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: sum(psutil.Process(process.pid).cpu_times()[:2]) >= seconds)
    process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE)
    ended = {-number, 130} if number == signal.SIGINT else {-number}
    assert process.returncode in ended
    assert output == ""
    assert not {"artifacts", ".runs", "dvc.lock", "reports"} & {
        path.name for path in fresh.iterdir()
    }
    assert survivors(str(fresh)) == []
