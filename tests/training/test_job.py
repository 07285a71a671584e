"""One run in a worker: what is recorded of it."""

import math
from dataclasses import replace

import pytest

from pipeline import prepare
from pipeline.config.parameters import Execution
from pipeline.data.prepared import read_summary
from pipeline.planning.fingerprint import fingerprint, identity
from pipeline.records.runs import read_history
from pipeline.records.store import open_store
from pipeline.training import job


@pytest.mark.parametrize(("share", "state"), [(0.5, "done"), (math.nan, "diverged")])
def test_an_audit_without_numbers_is_a_run_that_diverged(
    project, configure, monkeypatch, share, state
):
    """The squared norm of weights overflows although the loss is a number."""
    prepare.main("tiny")
    digest = read_summary(project / "artifacts" / "tiny" / "data")["digest"]
    planned = identity(configure({"name": "weight_decay", "strength": 0.01}), digest)
    audit = {"weight_decay": {"tensors": 4, "share_of_loss": share}}
    train = job.train
    monkeypatch.setattr(job, "train", lambda *given: replace(train(*given), audit=audit))
    store, name = open_store(), fingerprint(planned)
    outcome = job.run_training(
        {
            "id": name,
            "identity": planned,
            "data": str(project / "artifacts" / "tiny" / "data"),
            "store": str(store.root),
            "hardware": Execution().hardware(),
        }
    )
    record = store.record(name)
    assert outcome["state"] == record["state"] == state
    assert record["audit"] == ({} if state == "diverged" else audit)
    epochs = {row["epoch"] for row in read_history(store.folder(name))}
    assert epochs == ({1} if state == "diverged" else {1, 2})
    if state == "diverged":
        assert record["reason"] == "weight_decay: share_of_loss is nan after the last epoch"
        assert "validation.safetensors" not in record["files"]
