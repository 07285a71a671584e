"""A file of pretrained weights starts every run, or one line says why it cannot."""

import collections
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from declarations import MODEL

from pipeline.data.weights import weights_digest
from pipeline.execution.dvc import has_other_weights
from pipeline.models import build
from pipeline.models._weights import load_weights, match_weights
from pipeline.planning.fingerprint import fingerprint, identity
from pipeline.planning.studies import read_experiment
from pipeline.prediction.network import assemble
from pipeline.runtime.errors import Refusal
from pipeline.training.job import run_training

SHAPE, CLASSES = (1, 8, 8), 10


@pytest.fixture
def state(project):
    """Return the state of a network that no seed of a run draws; the folder is a project."""
    torch.manual_seed(99)
    network = build(MODEL, SHAPE, CLASSES).network
    return {name: (value + 1).contiguous() for name, value in network.state_dict().items()}


def started(configure, path, seed=0, classes=CLASSES):
    """Return the plain network with which the training of a run begins."""
    config = configure(seed=seed)
    config = config.model_copy(update={"model": {**config.model, "weights": path}})
    return assemble(config, (), SHAPE, classes, pretrained=True).network.state_dict()


WRITTEN = {
    "safe.safetensors": lambda state, path: safetensors.torch.save_file(state, path),
    "flat.pt": torch.save,
    "ordered.pth": lambda state, path: torch.save(collections.OrderedDict(state), path),
    "nested.ckpt": lambda state, path: torch.save({"epoch": 3, "state_dict": state}, path),
    "wrapped.bin": lambda state, path: torch.save(
        {f"module.{name}": value for name, value in state.items()}, path
    ),
    "run.safetensors": lambda state, path: safetensors.torch.save_file(
        {"mean": torch.zeros(1), **{f"network.{name}": value for name, value in state.items()}},
        path,
    ),
    "half.pt": lambda state, path: torch.save(
        {
            name: value.half() if value.is_floating_point() else value
            for name, value in state.items()
        },
        path,
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_seed_starts_from_the_file(configure, state, name):
    WRITTEN[name](state, name)
    for seed in (0, 1):
        begun = started(configure, name, seed)
        tolerance = 1e-2 if name == "half.pt" else 0
        assert begun.keys() == state.keys()
        for key, value in begun.items():
            assert value.dtype == state[key].dtype
            torch.testing.assert_close(value, state[key], rtol=0, atol=tolerance)


def test_a_head_of_other_classes_stays_as_drawn(configure, state):
    torch.save(state | {"extra": torch.ones(2)}, "other.pt")
    match = match_weights(build(MODEL, SHAPE, 3).network, "other.pt")
    assert len(match.reshaped) == 2  # weight and bias
    assert (match.missing, match.unused) == ((), ("extra",))
    for name in match.reshaped:
        assert name in match.note("other.pt")
    begun = started(configure, "other.pt", classes=3)
    drawn = assemble(configure(seed=0), (), SHAPE, 3).network.state_dict()
    for name, value in begun.items():
        expected = drawn[name] if name in match.reshaped else state[name]
        assert torch.equal(value, expected), name


class Harmful:
    """Runs a command where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("harmed",)


BAD = {
    "a.pt": (lambda path, state: None, "missing; expected a file of weights"),
    "a.txt": (lambda path, state: Path(path).touch(), "unknown kind of file"),
    "b.pt": (lambda path, state: Path(path).write_bytes(b"\x00" * 99), "damaged"),
    "b.safetensors": (lambda path, state: Path(path).write_bytes(b"{}"), "damaged"),
    "c.pt": (lambda path, state: torch.save({"x": Harmful()}, path), "or holds more than tensors"),
    "d.pt": (lambda path, state: torch.save([1, 2], path), "holds a list; expected tensors"),
    "e.pt": (lambda path, state: torch.save({}, path), "no tensor has name and shape"),
    "f.pt": (lambda path, state: torch.save({"a": torch.ones(1)}, path), "given a"),
    "g.pt": (
        lambda path, state: torch.save(
            {
                name: torch.full_like(value, float("nan")) if value.is_floating_point() else value
                for name, value in state.items()
            },
            path,
        ),
        "has values that are not finite",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_another_file_raises_when_it_is_planned(state, project, name):
    make, words = BAD[name]
    make(name, state)
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    text = protocol.read_text().replace("grid: 1}", f"grid: 1, weights: {name}}}")
    protocol.write_text(
        text.replace("studies: [dropout, others, ensembles, variance]", "studies: [dropout]")
    )
    with pytest.raises(Refusal) as refused:
        read_experiment("tiny")
    assert len(refused.value.lines) == 1
    assert f"tiny.yaml: model.weights: {name}: " in refused.value.lines[0]
    assert words in refused.value.lines[0]
    assert not (project / "harmed").exists()


def test_the_content_of_the_file_names_the_run_and_predictions_do_not_need_it(
    configure, state, project
):
    torch.save(state, "a.pt")
    config = configure(seed=0)
    config = config.model_copy(update={"model": {**config.model, "weights": "a.pt"}})
    before = identity(config, "digest")
    assert before["weights"] == weights_digest("a.pt")
    torch.save({name: value + 1 for name, value in state.items()}, "a.pt")
    after = identity(config, "digest")
    assert fingerprint(before) != fingerprint(after)
    assert "weights" not in identity(configure(seed=0), "digest")
    assert has_other_weights(before)
    assert not has_other_weights(after)
    (project / "a.pt").unlink()
    assert not has_other_weights(before)
    assert assemble(config, (), SHAPE, CLASSES).network is not None


def test_a_file_that_has_changed_since_is_not_trained_from(configure, state, project, monkeypatch):
    torch.save(state, "a.pt")
    config = configure(seed=0)
    config = config.model_copy(update={"model": {**config.model, "weights": "a.pt"}})
    planned = identity(config, "digest")
    torch.save({name: value + 1 for name, value in state.items()}, "a.pt")
    monkeypatch.setattr("pipeline.training.job._pool", lambda folder, digest: None)
    job = {"id": "x", "identity": planned, "data": "", "store": str(project / "s")}
    with pytest.raises(Refusal, match="a.pt: changed after these runs were planned"):
        run_training(job | {"hardware": {}})


def test_what_shares_memory_with_the_file_is_not_changed_in_it(state):
    torch.save(state, "a.pt")
    network = build(MODEL, SHAPE, CLASSES).network
    match = load_weights(network, "a.pt")
    with torch.no_grad():
        next(iter(network.parameters())).zero_()
    assert all(torch.equal(value, state[name]) for name, value in match.loaded.items())
