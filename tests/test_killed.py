"""Killed at any moment: a few of the cases that `make torture` draws at random."""

import signal
import subprocess
import sys
import time

import pytest
from marked import MARK, Run, survivors
from tiny import tables, trained, write_clone

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
    """Send the signal as soon as a stage of this run is at work, so many runs are finished.

    There is such a process then.
    """
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and run.process.poll() is None:
        begun = (folder / "dvc.lock").exists() and run.begun()
        if begun and len(trained(folder)) >= runs:
            time.sleep(0.3)  # a stage has just been started; Python itself still starts
            if run.send(number, target) is not None:
                return
        time.sleep(0.02)
    pytest.fail("nothing was hit")


@pytest.mark.long
def test_it_goes_on_to_the_same_tables(reproduced, checkout, environment, fresh):
    """Hit a run twice: no process lives on, and no finished run is trained again.

    Control-C reaches the whole group. In the end every table is that of an undisturbed run.
    `make torture` has ten more ways, at random moments.
    """
    finished = {}
    for number, target, runs, expected in (
        (signal.SIGINT, "group", 1, 130),
        (signal.SIGKILL, "group", 12, -9),
    ):
        run = Run(fresh, environment)
        hit(run, fresh, number, target, runs)
        code, output = run.end()
        assert code == expected, output
        assert "Traceback" not in output
        ended = trained(fresh)
        assert survivors(run.mark) == []
        # what was slow to die has trained on for a moment, not to the end of its stage
        assert len(trained(fresh)) - len(ended) <= cores()
        if code == 130:
            assert output.splitlines()[-1].startswith("interrupted; ")
            assert "stages" in read_yaml(fresh / "dvc.lock")
        before, finished = finished, trained(fresh)
        assert {name: when for name, when in finished.items() if name in before} == before
    code, output = Run(fresh, environment).end()
    assert code == 0, output
    assert tables(fresh) == tables(checkout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("words", [("pipeline.train", "tiny"), ("pipeline", "run")])
@pytest.mark.parametrize("seconds", [0.2, 0.8])
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
    time.sleep(seconds)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    ended = {-number, 130} if number == signal.SIGINT else {-number}
    assert process.returncode in ended
    assert output == ""
    assert not {"artifacts", ".runs", "dvc.lock", "reports"} & {
        path.name for path in fresh.iterdir()
    }
    assert survivors(str(fresh)) == []
