"""The seconds of the stages of a run, kept in one file by their processes."""

import json
import time

import pytest

from pipeline.execution.stage import Incomplete, stage
from pipeline.runtime.stage_times import (
    STAGE_TIMES,
    add_stage_time,
    clear_stage_times,
    read_stage_times,
)
from pipeline.terminal.stages import show_stages


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Start a run in an empty project."""
    monkeypatch.chdir(tmp_path)
    STAGE_TIMES.parent.mkdir(parents=True)
    (variable,) = clear_stage_times().items()
    monkeypatch.setenv(*variable)


def main(protocol):
    """Do nothing, or fail."""
    if protocol == "failing":
        raise Incomplete("1 of 2 runs failed")


def test_a_stage_adds_the_seconds_of_its_process(started, monkeypatch):
    monkeypatch.setattr("psutil.Process.create_time", lambda process: time.time() - 7)
    (verb,) = {main.__module__.rpartition(".")[2]}
    assert stage(main, ["tiny"]) == 0
    assert stage(main, ["failing"]) == 1
    assert read_stage_times() == pytest.approx({f"{verb}@tiny": 7}, abs=1)
    clear_stage_times()
    assert read_stage_times() == {}


def test_repeated_stages_are_summed(started):
    lines = [["train@tiny", 2.0], ["prepare@tiny", 1.0], ["train@tiny", 3.5]]
    STAGE_TIMES.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert read_stage_times() == {"train@tiny": 5.5, "prepare@tiny": 1.0}


def test_outside_a_run_nothing_is_kept(started, monkeypatch):
    monkeypatch.delenv("GAPWISE_STAGE_TIMES")
    add_stage_time("train@tiny")
    assert not STAGE_TIMES.exists()


def test_a_row_for_each_stage_and_their_sum(capsys):
    show_stages({"prepare@tiny": 1.24, "train@tiny": 60.0})
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert rows[-3:] == [["prepare@tiny", "1.2"], ["train@tiny", "60.0"], ["all", "61.2"]]
    show_stages({})
    assert capsys.readouterr().out == ""
