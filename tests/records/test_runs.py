"""Files of one run: which records count, and what a corrupted file is."""

import pytest

from pipeline.records.runs import (
    checked_record,
    done_records,
    file_digest,
    read_file,
    read_history,
    read_record,
    sha256,
    valid_record,
    write_record,
)
from pipeline.runtime.errors import Refusal

CURVE = b'{"epoch": 1, "split": "train"}\n{"epoch": 1, "split": "validation"}\n'


@pytest.fixture
def folder(tmp_path):
    """Return a phase with a run in every state, and one without a record."""
    for state in ("done", "failed", "diverged", "none"):
        (tmp_path / state).mkdir()
        if state != "none":
            (tmp_path / state / "history.jsonl").write_bytes(CURVE)
            record = {"state": state, "files": {"history.jsonl": sha256(CURVE)}}
            write_record(tmp_path / state, record)
    return tmp_path


def test_done_runs_alone_have_scores(folder):
    names = ["none", "diverged", "done", "failed", "missing"]
    records = done_records(folder, names)
    assert list(records) == ["done"]
    assert records["done"]["state"] == "done"


def test_the_order_is_the_one_given(folder):
    write_record(folder / "none", {"state": "done", "files": {}})
    assert list(done_records(folder, ["none", "done"])) == ["none", "done"]
    assert list(done_records(folder, ["done", "none"])) == ["done", "none"]


def test_a_curve_has_a_row_per_line_and_none_where_there_is_no_file(folder):
    assert [row["split"] for row in read_history(folder / "done")] == ["train", "validation"]
    assert read_history(folder / "none") == []


def test_a_damaged_file_or_record_is_one_line(folder):
    run = folder / "done"
    (run / "history.jsonl").write_bytes(CURVE[:-1])
    for read in (lambda: read_file(run, "history.jsonl"), lambda: checked_record(run)):
        with pytest.raises(Refusal, match="missing or corrupted; remove ") as refused:
            read()
        assert len(refused.value.lines) == 1
    assert read_record(run)["state"] == "done"
    (run / "record.json").write_text("{}")
    assert valid_record(run) is None
    with pytest.raises(Refusal, match="record.json: corrupted; remove "):
        read_record(run)


def test_a_digest_follows_the_content(folder):
    path = folder / "done" / "history.jsonl"
    assert file_digest(path) == sha256(CURVE)
    path.write_bytes(CURVE * 2)
    assert file_digest(path) == sha256(CURVE * 2)
