"""One run at a time, and a dvc.lock that parses."""

import os
import subprocess
import sys

import pytest

from pipeline.execution.dvc_lock import keep_dvc_lock, mend_dvc_lock
from pipeline.runtime.errors import Refusal
from pipeline.runtime.locks import held

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
    code = f"from pathlib import Path\nfrom pipeline.runtime.locks import held\nwith held(Path({str(tmp_path)!r})): pass"
    with held(tmp_path):
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
    assert f"another run is at work in this tree (process {os.getpid()})" in other.stderr
    with held(tmp_path):
        pass


def test_held_again_in_one_process_is_refused(tmp_path):
    with held(tmp_path), pytest.raises(Refusal), held(tmp_path):
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
    assert mend_dvc_lock() == ""
    keep_dvc_lock()
    (tmp_path / "dvc.lock").write_text(damaged)
    assert "restored from the last good copy" in mend_dvc_lock()
    assert (tmp_path / "dvc.lock").read_text() == GOOD


def test_without_a_good_copy_it_is_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mend_dvc_lock() == ""
    (tmp_path / "dvc.lock").write_text("")
    assert "removed" in mend_dvc_lock()
    assert not (tmp_path / "dvc.lock").exists()
