"""What arrives in W&B, read back by W&B's own tool, and what happens when W&B misbehaves."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from offline import folder_of, inspected, records, wait_for_wandb

from pipeline.tracking import mirror as module
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.payloads import Payload, Table

HISTORY = tuple({"epoch": epoch, "train/loss": 1 / epoch, "gap": 0.1} for epoch in (6, 12, 18))
PAYLOAD = Payload(
    id="abc123",
    group="dropout",
    job_type="confirmation",
    name="drop rate=0.25 seed 3",
    notes="Does it help?",
    tags=("drop", "dropout"),
    config={"arm": "drop", "dropout.rate": 0.25},
    summary={"state": "done", "final/test_accuracy": 0.9},
    history=HISTORY,
)


@pytest.fixture(autouse=True)
def _separate_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_API_KEY", "canary-in-the-mine-canary-in-the-mine-0000")


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    wait_for_wandb(monkeypatch)
    this = Mirror("offline", "gapwise", None, str(tmp_path))
    yield this
    this.close()


def test_a_run_arrives_with_its_curves_config_and_summary(tmp_path: Path, mirror: Mirror) -> None:
    assert mirror.send(PAYLOAD)
    mirror.close()
    assert mirror.trouble == ""
    seen = json.loads(inspected(folder_of(tmp_path, "abc123"), "--summary"))
    assert (seen["run_id"], seen["name"], seen["notes"], seen["project"]) == (
        "abc123",
        PAYLOAD.name,
        PAYLOAD.notes,
        "gapwise",
    )
    assert (seen["state"], seen["step"], seen["tags"]) == ("finished", 18, ["drop", "dropout"])
    assert seen["config"] == PAYLOAD.config
    assert seen["summary"]["final/test_accuracy"] == 0.9
    records_of_run = records(folder_of(tmp_path, "abc123"))
    curve = [item["history"]["item"] for item in records_of_run if item["type"] == "history"]
    assert [(point["_step"], point["gap"]) for point in curve] == [(6, 0.1), (12, 0.1), (18, 0.1)]
    (run,) = (item["run"] for item in records_of_run if item["type"] == "run")
    assert (run["run_group"], run["job_type"]) == ("dropout", "confirmation")


def test_the_report_arrives_with_tables_and_files(tmp_path: Path, mirror: Mirror) -> None:
    tables = {
        "headline": Table(("arm", "p", "verdict"), (("drop", 0.01, "helps"), ("decay", None, None)))
    }
    data = {"dataset": "digits", "digest": "d" * 64}
    assert mirror.send(
        replace(
            PAYLOAD,
            id="report-1",
            history=(),
            tables=tables,
            texts={"report.md": "# Gap \u2013"},
            data=data,
        )
    )
    records_of_report = records(folder_of(tmp_path, "report-1"))
    kinds = {item["artifact"]["type"] for item in records_of_report if item["type"] == "artifact"}
    assert kinds == {"run_table", "report", "dataset"}
    (used,) = (
        item["artifact"]
        for item in records_of_report
        if item["type"] == "artifact" and item["artifact"]["type"] == "dataset"
    )
    assert used["name"] == "data-" + "d" * 20
    assert json.loads(used["metadata"]) == data
    (table,) = folder_of(tmp_path, "report-1").rglob("headline*.table.json")
    assert json.loads(table.read_text())["data"] == [["drop", 0.01, "helps"], ["decay", None, None]]


def test_a_failed_run_is_shown_as_failed(tmp_path: Path, mirror: Mirror) -> None:
    assert mirror.send(
        replace(PAYLOAD, failed=True, history=({"epoch": 1, "train/loss": float("nan")},))
    )
    assert json.loads(inspected(folder_of(tmp_path, "abc123"), "--summary"))["state"] == "failed"


def test_no_secret_and_no_command_line_is_mirrored(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["track", "--token=canary"])
    assert mirror.send(PAYLOAD)
    mirror.close()
    content = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert content
    assert not [text for text in content if b"canary" in text]


def test_one_refused_run_does_not_stop_the_others(mirror: Mirror) -> None:
    assert not mirror.send(replace(PAYLOAD, id="bad", history=({"epoch": "six"},)))
    assert list(mirror.rejected) == ["bad"]
    assert mirror.send(PAYLOAD)
    assert mirror.trouble == ""


def test_an_absent_wandb_is_trouble_not_an_error(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert not mirror.send(PAYLOAD)
    assert mirror.trouble.startswith("ModuleNotFoundError: ")
    mirror.close()


@pytest.mark.parametrize(
    "error",
    [RuntimeError("two\nlines"), TypeError("bad"), OSError("refused"), AttributeError("gone")],
)
def test_nothing_is_tried_after_trouble(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    tries = []

    def init(**given: Any) -> None:
        tries.append(given["id"])
        raise error

    monkeypatch.setattr("wandb.init", init)
    assert not mirror.send(PAYLOAD)
    assert not mirror.send(replace(PAYLOAD, id="next"))
    assert tries == ["abc123"]
    assert mirror.trouble == f"{type(error).__name__}: {' '.join(str(error).split())}"


def test_an_error_at_the_end_of_a_run_is_trouble(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(self: object, exit_code: int) -> None:
        raise ValueError("the end")

    monkeypatch.setattr("wandb.Run.finish", finish)
    assert not mirror.send(PAYLOAD)
    assert (mirror.trouble, mirror.rejected) == ("ValueError: the end", {})


def test_waiting_for_wandb_is_bounded(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**given: Any) -> None:
        for _ in range(100):  # as a loop that tries again would
            try:
                time.sleep(5)
            except Exception:
                continue

    monkeypatch.setattr(module, "SEND_SECONDS", 0.2)
    monkeypatch.setattr("wandb.init", init)
    begun = time.monotonic()
    assert not mirror.send(PAYLOAD)
    assert time.monotonic() - begun < 100  # seconds, of 500
    assert mirror.trouble == "TimeoutError: no answer within 0.2 s"


def test_closing_what_was_never_opened_does_nothing(mirror: Mirror) -> None:
    mirror.close()
    mirror.close()
    assert mirror.trouble == ""
