"""How `make run` ends when runs fail, and on disks that are full or read-only."""

import re
import signal
import sys
import time

import pandas as pd
import pytest
from marked import Run
from misbehaving import plant
from tiny import RUN, trained, write_clone


def test_a_failing_arm_stops_the_run_or_is_reported_and_is_tried_again(
    copied, command, environment
):
    """The same code fails or hangs under one environment and not under another."""
    plant(copied)
    stopped = command(*RUN, at=copied, FAIL="1")
    assert stopped.returncode == 1
    said = (
        r"3 of 3 runs failed:\nweight_decay strength=0.01 seed 100\d and 2 more: "
        r"RuntimeError: out of luck \(weight_decay.py"
    )
    assert re.search(said, stopped.stderr)
    assert stopped.stderr.endswith("correct what is named above and run again\n")
    kept = command(*RUN, "--keep-going", at=copied, FAIL="1")
    assert kept.returncode == 0, kept.stderr
    assert "Traceback" not in stopped.stderr + kept.stdout + kept.stderr
    assert _row(copied)["failed"] == 3
    assert "3/0/3/0/0" in (copied / "reports" / "tiny" / "report.md").read_text()
    failing = command(*RUN, at=copied, FAIL="1")  # DVC alone would take the stage for done
    assert failing.returncode == 1
    assert "weight_decay strength=0.01 seed 100" in failing.stderr
    if sys.platform.startswith("linux"):  # which alone shows the processes of others
        for number, target, expected in (
            (signal.SIGKILL, "stage", 1),
            (signal.SIGINT, "group", 130),
        ):
            _end_while_it_hangs(copied, environment, number, target, expected)
    before = trained(copied)
    again = command(*RUN, at=copied)
    assert again.returncode == 0, again.stderr
    assert (_row(copied)["done"], _row(copied)["failed"]) == (3, 0)
    assert len({name for name, when in trained(copied).items() if before.get(name) != when}) == 3


def _end_while_it_hangs(folder, environment, number, target, expected):
    """End a stage with its workers, in which Lightning handles SIGTERM by then."""
    mark = folder.parent / "hanging"
    mark.unlink(missing_ok=True)
    run = Run(folder, environment | {"HANG": str(mark)})
    while not mark.exists() and run.process.poll() is None:
        time.sleep(0.02)
    assert run.send(number, target) == "confirm"
    code, output = run.end()
    assert (code, run.clear()) == (expected, 0)
    assert "Traceback" not in output


def _row(folder):
    table = pd.read_csv(folder / "artifacts" / "tiny" / "contrasts.csv")
    return table.query("arm == 'weight_decay' and metric == 'test_accuracy'").iloc[0]


@pytest.mark.parametrize(
    ("mount", "verb", "words"),
    [
        (
            "-t tmpfs -o size=100k none artifacts",
            "prepare",
            "the disk is full; free some space and run again",
        ),
        (
            "-t tmpfs -o ro none artifacts",
            "prepare",
            "the file system is read-only; expected a writable folder",
        ),
        (
            "-t tmpfs -o ro none .runs",
            "train",
            "the file system is read-only; expected a writable folder",
        ),
    ],
)
def test_a_disk_that_cannot_be_written_is_one_line(
    mounting, command, checkout, tmp_path, mount, verb, words
):
    fresh = write_clone(checkout, tmp_path / "fresh")
    for folder in ("artifacts", ".runs"):
        (fresh / folder).mkdir()
    if verb == "train":
        assert command(sys.executable, "-m", "pipeline.prepare", "tiny", at=fresh).returncode == 0
    refused = command(
        *mounting, f"mount {mount} && exec {sys.executable} -m pipeline.{verb} tiny", at=fresh
    )
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert refused.stderr.count("\n") == 1
    assert words in refused.stderr
