"""One run at a time, and a dvc.lock that parses."""

import os
import subprocess
import sys

import pytest

from pipeline.execution.dvc_lock import keep_dvc_lock, repair_dvc_lock
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


def test_held_again_in_one_process_is_refused(tmp_path):
    with (
        exclusive_lock(tmp_path / "lock"),
        pytest.raises(Refusal),
        exclusive_lock(tmp_path / "lock"),
    ):
        pass


@pytest.mark.parametrize(
    "damaged",
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
def test_a_damaged_dvc_lock_is_restored(tmp_path, monkeypatch, damaged):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text(GOOD)
    assert repair_dvc_lock() == ""
    keep_dvc_lock()
    (tmp_path / "dvc.lock").write_text(damaged)
    assert "restored from the last good copy" in repair_dvc_lock()
    assert (tmp_path / "dvc.lock").read_text() == GOOD


def test_without_a_good_copy_it_is_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert repair_dvc_lock() == ""
    (tmp_path / "dvc.lock").write_text("")
    assert "removed" in repair_dvc_lock()
    assert not (tmp_path / "dvc.lock").exists()
