"""A network is timed by the project's own training, in a folder that is removed."""

import pytest

from pipeline.config.parameters import Execution
from pipeline.execution.probing import measure_speed
from pipeline.planning.resolution import resolve_protocol
from pipeline.runtime.errors import Refusal
from pipeline.training import probe

DOCUMENT = {
    "name": "mine",
    "data": {"dataset": "digits", "train_size": 40},
    "model": {"name": "cnn", "widths": [4]},
    "training": {"learning_rate": 0.01, "epochs": 1, "batch_size": 10},
    "studies": ["dropout"],
}
SETTINGS = Execution(accelerator="cpu", workers=2)


def measured(**changes):
    protocol = resolve_protocol(DOCUMENT | changes, "mine.yaml")
    return measure_speed(protocol, (1, 8, 8), 10, SETTINGS)


def test_a_run_has_a_start_updates_and_scored_examples(project, monkeypatch):
    monkeypatch.setattr(probe, "MEASURABLE", 0.1)
    speed = measured()
    assert 0 < speed.update < 0.2
    assert 0 <= speed.start < 10
    assert 0 <= speed.score < 0.1
    assert not list((project / ".data").iterdir())
    assert not (project / ".runs").exists()


def test_a_network_that_cannot_be_trained_raises(project, monkeypatch):
    def fails(job):
        raise ValueError("too large")

    monkeypatch.setattr(probe, "run_training", fails)
    with pytest.raises(Refusal, match="the network cannot be trained: ValueError: too large"):
        measured()
