"""`status`: every planned run counts once in each of its studies; failures have reasons."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import prepare, regularizers, train
from pipeline.execution.plans import read_current_plan
from pipeline.execution.stage import Incomplete, stage_lock
from pipeline.records.store import open_store
from pipeline.runtime.errors import Refusal
from pipeline.runtime.locks import exclusive_lock
from pipeline.terminal.status import show_status

LIGHT = """
import sys
from pipeline.terminal.status import show_status
show_status("tiny")
loaded = {name for name in sys.modules if name == "torch" or name.startswith("pipeline.planning")}
sys.exit(f"imported: {loaded}" if loaded else 0)
"""


def status(capsys):
    show_status("tiny")
    return capsys.readouterr().out


def rows(text):
    """Return (phase, study) -> the numbers of its row, where there are any."""
    table = {}
    for line in text.splitlines():
        phase, study, *numbers = [*line.split(), "", ""]
        if phase in ("explore", "confirm") and numbers[0].isdigit():
            table[phase, study] = [int(number) for number in numbers if number]
    return table


def test_before_anything_is_planned_it_says_what_to_do(project, capsys):
    text = status(capsys)
    assert "tiny, exploration: not planned yet; run: gapwise run" in text
    assert "tiny, confirmation: not planned yet; run: gapwise run" in text
    assert rows(text) == {}
    with pytest.raises(Refusal, match=r"params.yaml: protocols: unknown name 'tinny'; .* 'tiny'"):
        show_status("tinny")


def test_missing_done_and_failed_runs_are_counted_with_reasons(project, capsys, monkeypatch):
    prepare.main("tiny")
    kind = regularizers.settings()["augmentation"]
    with monkeypatch.context() as patch, pytest.raises(Incomplete):
        patch.setattr(
            kind, "modify_batch", lambda self, inputs, targets, generator: (inputs, targets)
        )
        train.main("tiny")
    capsys.readouterr()
    text = status(capsys)
    assert rows(text) == {("explore", "dropout"): [6, 6], ("explore", "others"): [6, 2, 4]}
    assert "exploration: failed: shift shift=0.5 seed 0 and " in text
    assert "NoEffect: augmentation: none of 60 images was changed" in text
    assert "has changed" not in text
    for folder in list(open_store().root.glob("*/record.json"))[:2]:
        folder.unlink()
    assert "missing" in status(capsys)
    train.main("tiny")
    capsys.readouterr()
    text = status(capsys)
    assert "failed: " not in text
    assert rows(text) == {("explore", "dropout"): [6, 6], ("explore", "others"): [6, 6]}
    assert re.findall(r"(\d+) of (\d+) runs done", text) == [("10", "10")]


def test_a_plan_is_stored_before_its_runs_are_trained(project, capsys, monkeypatch):
    """A kill during training leaves a plan of missing runs."""
    prepare.main("tiny")
    monkeypatch.setattr("pipeline.execution.scheduler.finish", lambda *given: sys.exit(9))
    with pytest.raises(SystemExit):
        train.main("tiny")
    capsys.readouterr()
    assert rows(status(capsys)) == {("explore", "dropout"): [6, 6], ("explore", "others"): [6, 6]}


def test_changed_settings_are_named(finished, monkeypatch, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("GAPWISE_STORE", str(tmp_path / "copy" / ".runs"))
    assert "has changed" not in status(capsys)
    protocols = tmp_path / "copy" / "experiments" / "protocols"
    (protocols / "another.yaml").write_text("data: {}\n")
    assert "has changed" not in status(capsys)  # no input of this protocol
    study = tmp_path / "copy" / "experiments" / "dropout.yaml"
    study.write_text(study.read_text() + "\n")
    text = status(capsys)
    for phase in ("exploration", "confirmation"):
        assert f"{phase}: experiments/dropout.yaml has changed since this plan; run:" in text


def test_without_a_stored_plan_it_is_the_one_of_the_artifacts(
    finished, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(finished)
    monkeypatch.setenv("GAPWISE_STORE", str(finished / ".runs"))
    with_store = rows(status(capsys))
    monkeypatch.setenv("GAPWISE_STORE", str(tmp_path))
    without = rows(status(capsys))
    assert {key: numbers[0] for key, numbers in without.items()} == {
        key: numbers[0] for key, numbers in with_store.items()
    }
    total = status(capsys).splitlines()[-1]  # this store is empty
    assert re.findall(r"\d+", total) == ["0", "49"]
    assert total.endswith("gapwise run")


def test_a_phase_in_progress_has_a_speed_and_a_time_left(finished, monkeypatch, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    store = open_store()
    records = sorted(store.root.glob("[!.]*/record.json"))
    assert len(records) == 49
    now = time.time()
    for number, record in enumerate(records):
        ended = now - 3600 if number % 2 else now - 60  # half of them before this stage
        os.utime(record, (ended, ended))
    assert "in progress" not in status(capsys)
    plan, _ = read_current_plan(store, "tiny", "confirmation")
    for name in plan.fingerprints()[:6]:
        shutil.rmtree(store.folder(name))
    kept = [store.ended_at(name) for name in plan.fingerprints()[6:]]
    lock = stage_lock("tiny", "confirm")
    with exclusive_lock(lock):
        ended = sum(when > now - 600 for when in kept)
        assert 0 < ended < len(kept)
        os.utime(lock, (now - 600, now - 600))
        line, total = status(capsys).splitlines()[-2:]
        numbers = [float(number) for number in re.findall(r"[\d.]+", line)]
        assert line.startswith("confirmation: in progress, ")
        assert numbers == pytest.approx([ended / 10, 6, 6 / (ended / 10)], abs=0.1)
        assert re.findall(r"\d+", total) == ["43", "49"]
        os.utime(lock, (now, now))
        line = status(capsys).splitlines()[-2]
        assert line.startswith("confirmation: in progress, ")
        assert re.findall(r"\d+", line) == ["6"]  # runs left; no speed yet
    assert status(capsys).endswith("; run: gapwise run\n")


def test_it_needs_neither_torch_nor_the_planning(finished):
    code = str(Path(__file__).resolve().parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", LIGHT],
        cwd=finished,
        env=os.environ | {"PYTHONPATH": code, "GAPWISE_STORE": str(finished / ".runs")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "tiny: runs" in ended.stdout
