"""How `make run` ends when runs fail, and on disks that are full or read-only."""

import re
import shutil
import signal
import sys

import pandas as pd
import pytest
from marked import Run
from misbehaving import plant
from tiny import RUN, trained, write_clone
from waiting import wait_until

DATA = "artifacts/tiny/data"


@pytest.fixture(scope="session")  # tests of other files come between
def kept(checkout, command, tmp_path_factory):
    """Return a project of one study in which weight decay failed, and the run that kept going.

    The same code fails or hangs under one environment and not under another. It has one figure,
    since the others take most of the time of a report, and no mirror.
    """
    folder = write_clone(checkout, tmp_path_factory.mktemp("failing") / "project")
    parameters = folder / "params.yaml"
    parameters.write_text(parameters.read_text().replace("studies: null", "studies: [others]"))
    study = folder / "experiments" / "others.yaml"
    study.write_text(study.read_text().replace("[0.5, 1.0]", "0.5"))  # nothing to explore
    plant(folder)
    for path in (folder / "pipeline" / "reporting" / "plots").glob("[!_]*.py"):
        if path.stem != "forest":
            path.unlink()
    _end_before(folder, "track")
    return folder, command(*RUN, "--keep-going", at=folder, FAIL="1")


@pytest.mark.long
def test_a_failing_arm_is_reported_where_the_run_keeps_going(kept):
    folder, ended = kept
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    row = _row(folder)
    assert (row["planned"], row["done"], row["failed"], row["n"]) == (3, 0, 3, 0)
    assert row["verdict"] == "inconclusive"
    assert "3/0/3/0/0" in (folder / "reports" / "tiny" / "pages" / "verdicts.md").read_text()


@pytest.mark.long
def test_otherwise_a_failing_arm_stops_the_run(kept, command):
    """DVC alone would take the stage for done: the last run was to keep going."""
    folder, _ = kept
    stopped = command(*RUN, at=folder, FAIL="1")
    assert stopped.returncode == 1
    assert re.search(
        r"3 of 3 runs failed:\nweight_decay strength=0.01 seed 100\d and 2 more: "
        r"RuntimeError: out of luck \(weight_decay.py",
        stopped.stderr,
    )
    assert stopped.stderr.endswith("fix the errors above and run again\n")
    assert "Traceback" not in stopped.stderr


@pytest.mark.long
def test_what_failed_is_tried_again(kept, command, environment):
    folder, _ = kept
    if sys.platform.startswith("linux"):  # which alone shows the processes of others
        _end_while_it_hangs(folder, environment)
    before = trained(folder)
    _end_before(folder, "report")  # its numbers are those of the tables
    done = command(*RUN, at=folder)
    assert done.returncode == 0, done.stderr
    assert (_row(folder)["done"], _row(folder)["failed"]) == (3, 0)
    assert len({name for name, when in trained(folder).items() if before.get(name) != when}) == 3


def _end_before(folder, verb):
    """Leave a stage and all later ones out of a project."""
    stages = folder / "dvc.yaml"
    stages.write_text(stages.read_text().partition(f"  {verb}:\n")[0])


def _end_while_it_hangs(folder, environment):
    """Check that a killed stage ends with its workers, in which Lightning handles SIGTERM."""
    mark = folder.parent / "hanging"
    stage = (sys.executable, "-m", "pipeline.confirm", "tiny")
    run = Run(folder, environment | {"HANG": str(mark)}, stage)
    wait_until(lambda: mark.exists() or run.process.poll() is not None)
    assert run.send(signal.SIGKILL, "stage") == "confirm"
    code, output = run.end()
    assert (code, run.clear()) == (-signal.SIGKILL, 0)
    assert "Traceback" not in output


def _row(folder):
    table = pd.read_csv(folder / "artifacts" / "tiny" / "contrasts.csv")
    return table.query("arm == 'weight_decay' and metric == 'test_accuracy'").iloc[0]


DISKS = """
import subprocess
from pipeline import prepare, train
from pipeline.execution.stage import stage

CASES = ((prepare, "size=100k", "artifacts"), (prepare, "ro", "artifacts"), (train, "ro", ".runs"))
for verb, options, folder in CASES:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    print(stage(verb.main, ["tiny"]))
    subprocess.run(["umount", folder], check=True)
"""  # in one process: each takes longer to start


def test_a_disk_that_cannot_be_written_is_one_line(mounting, command, checkout, kept, tmp_path):
    fresh = write_clone(checkout, tmp_path / "fresh")
    (fresh / ".runs").mkdir()
    shutil.copytree(kept[0] / DATA, fresh / DATA)
    ended = command(*mounting, f'exec {sys.executable} -c "$1"', "sh", DISKS, at=fresh)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [line for line in ended.stdout.splitlines() if line.isdigit()] == ["2"] * 3
    full, *read_only = ended.stderr.splitlines()
    assert "the disk is full; free some space and run again" in full
    assert len(read_only) == 2
    for line in read_only:
        assert "the file system is read-only; expected a writable folder" in line
