"""One run at a time, and a dvc.lock that parses."""

import json
import os
import subprocess
import sys

import pytest

from pipeline.execution.dvc_lock import (
    PATH_LOCKS,
    keep_dvc_lock,
    release_dead_locks,
    repair_dvc_lock,
)
from pipeline.runtime.errors import Refusal
from pipeline.runtime.locks import exclusive_lock, lock_holder

GOOD = """schema: '2.0'
stages:
  prepare@tiny:
    cmd: x
    outs:
    - path: a
      hash: md5
      md5: b
"""


def test_the_second_says_who_holds_it(tmp_path):
    code = (
        "from pathlib import Path\n"
        "from pipeline.runtime.locks import exclusive_lock\n"
        f"with exclusive_lock(Path({str(tmp_path)!r}, 'lock')): pass"
    )
    with exclusive_lock(tmp_path / "lock"):
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
    assert f"another run is in progress (process {os.getpid()})" in other.stderr
    with exclusive_lock(tmp_path / "lock"):
        pass


def test_the_holder_of_a_lock_is_known_while_it_holds_it(tmp_path):
    lock = tmp_path / "lock"
    assert lock_holder(lock) == ""
    with exclusive_lock(lock):
        assert lock_holder(lock) == str(os.getpid())
    assert lock_holder(lock) == ""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    lock.write_text(str(child.pid))
    assert lock_holder(lock) == ""


def test_acquiring_the_lock_twice_in_one_process_raises(tmp_path):
    with (
        exclusive_lock(tmp_path / "lock"),
        pytest.raises(Refusal),
        exclusive_lock(tmp_path / "lock"),
    ):
        pass


@pytest.mark.parametrize(
    "corrupted",
    [
        "",
        GOOD[:18],
        "\0\0\0",
        "- a",
        GOOD[: GOOD.index("    cmd")],
        GOOD[: GOOD.index("      md5")],
        GOOD[: GOOD.index("x\n")],
    ],
)
def test_a_damaged_dvc_lock_is_restored(tmp_path, monkeypatch, corrupted):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text(GOOD)
    assert repair_dvc_lock() == ""
    keep_dvc_lock()
    (tmp_path / "dvc.lock").write_text(corrupted)
    assert "restored from the last good copy" in repair_dvc_lock()
    assert (tmp_path / "dvc.lock").read_text() == GOOD


def test_without_a_good_copy_it_is_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert repair_dvc_lock() == ""
    (tmp_path / "dvc.lock").write_text("")
    assert "removed" in repair_dvc_lock()
    assert not (tmp_path / "dvc.lock").exists()


def test_in_a_larger_repository_the_lock_of_this_folder_is_restored(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    (tmp_path / "dvc.lock").write_text(GOOD + "# of the whole\n")
    (tmp_path / "project" / "dvc.lock").write_text(GOOD)
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (["init", "-q", str(tmp_path)], ["add", ".."], ["commit", "-qm", "start"]):
        subprocess.run(["git", *identity, *words], check=True)
    (tmp_path / "project" / "dvc.lock").write_text("")
    assert "restored from git" in repair_dvc_lock()
    assert (tmp_path / "project" / "dvc.lock").read_text() == GOOD


def test_a_damaged_lock_without_git(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    (tmp_path / "dvc.lock").write_text("")
    assert "removed" in repair_dvc_lock()


def test_paths_locked_by_dead_processes_and_zombies_are_released(tmp_path, monkeypatch):
    """As DVC writes them; the lock of a living process stays."""
    monkeypatch.chdir(tmp_path)
    release_dead_locks()
    assert not PATH_LOCKS.exists()
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    holders = [{"pid": each.pid, "cmd": "dvc repro"} for each in (zombie, dead)]
    alive = {"pid": os.getpid(), "cmd": "dvc repro"}
    PATH_LOCKS.parent.mkdir(parents=True)
    locks = {
        "write": {"a": holders[0], "b": holders[1], "c": alive},
        "read": {"a": holders, "d": [*holders, alive]},
    }
    PATH_LOCKS.write_text(json.dumps(locks))
    release_dead_locks()
    zombie.wait()
    assert json.loads(PATH_LOCKS.read_text()) == {"write": {"c": alive}, "read": {"d": [alive]}}
