"""Predictions of a run on disk: read as written, or refused."""

import json

import numpy as np
import pytest
from safetensors import safe_open

from pipeline.records.predictions import (
    INDEX,
    Predictions,
    View,
    read_predictions,
    require_predictions,
    seal_predictions,
    write_predictions,
)
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed

SIZES = {"train": 6, "validation": 4, "test": 5}
MEMBERS = {
    View("train", "deterministic"): 1,
    View("validation", "deterministic"): 1,
    View("test", "deterministic"): 1,
    View("train", "trained"): 8,
    View("test", "noise"): 3,
    View("validation", "snapshots"): 2,
    View("test", "snapshots"): 2,
}


def predicted(seed=0, examples="digest"):
    generator = np.random.default_rng(seed)
    logits = {
        view: generator.normal(size=(members, SIZES[view.split], 3)).astype(np.float32)
        for view, members in MEMBERS.items()
    }
    labels = {split: generator.integers(0, 3, SIZES[split]) for split in ("train", "validation")}
    return Predictions(logits, labels, examples)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with the predictions of two runs, sealed."""
    for seed, run in enumerate(("aa", "12e3")):
        write_predictions(tmp_path, run, predicted(seed, examples=f"images of {run}"))
    seal_predictions(tmp_path)
    return tmp_path


def read(folder, run):
    return read_predictions(folder, run, require_predictions(folder, [run])[run])


@pytest.mark.parametrize(("run", "seed"), [("aa", 0), ("12e3", 1)])
def test_read_as_written(folder, run, seed):
    stored, written = read(folder, run), predicted(seed)
    assert list(stored.logits) == list(MEMBERS)
    for view, logits in written.logits.items():
        np.testing.assert_array_equal(stored.logits[view], logits, strict=True)
    assert list(stored.labels) == ["train", "validation"]
    for split, labels in written.labels.items():
        np.testing.assert_array_equal(stored.labels[split], labels, strict=True)
    assert stored.examples == f"images of {run}"


def test_views_are_keys_by_their_names():
    views = predicted()
    assert views.logits["test", "noise"] is views.logits[View(kind="noise", split="test")]


@pytest.mark.parametrize(
    ("split", "kinds"),
    [
        ("train", ["deterministic", "trained"]),
        ("validation", ["deterministic", "snapshots"]),
        ("test", ["deterministic", "noise", "snapshots"]),
        ("other", []),
    ],
)
def test_kinds_are_those_of_one_split(split, kinds):
    assert predicted().kinds(split) == kinds


def test_logits_that_are_views_of_memory_are_written_as_they_read(tmp_path):
    """Such as a transposed array, and every second member of one."""
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    logits = {
        View("test", "deterministic"): whole.transpose(0, 2, 1)[::2],
        View("test", "noise"): whole[:, ::-1],
    }
    write_predictions(tmp_path, "aa", Predictions(logits, {}, "digest"))
    seal_predictions(tmp_path)
    stored = read(tmp_path, "aa")
    assert stored.labels == {}
    for view, values in logits.items():
        np.testing.assert_array_equal(stored.logits[view], values, strict=True)


def test_views_and_examples_are_metadata_and_the_test_has_no_labels(folder):
    with safe_open(folder / "aa.safetensors", framework="numpy") as file:
        index, names = json.loads(file.metadata()["index"]), set(file.keys())
    assert [(entry["split"], entry["kind"]) for entry in index["logits"]] == list(MEMBERS)
    assert set(index["labels"]) == {"train", "validation"}
    assert index["examples"] == "images of aa"
    assert {entry["tensor"] for entry in index["logits"]} | set(index["labels"].values()) == names
    assert len(names) == len(MEMBERS) + 2


def test_equal_predictions_are_equal_bytes(folder, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    for seed, run in enumerate(("aa", "12e3")):
        write_predictions(again, run, predicted(seed, examples=f"images of {run}"))
    seal_predictions(again)
    for name in ("aa.safetensors", "12e3.safetensors", INDEX):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_the_index_names_every_file(folder):
    assert set(read_sealed(folder / INDEX)["files"]) == {"aa.safetensors", "12e3.safetensors"}
    digests = require_predictions(folder, ["aa", "12e3"])
    assert list(digests) == ["aa", "12e3"]
    assert len(set(digests.values())) == 2
    assert require_predictions(folder, []) == {}


def test_runs_that_were_not_predicted_raise_a_line_each(folder):
    with pytest.raises(Refusal) as refused:
        require_predictions(folder, ["bb", "aa", "cc"])
    assert refused.value.lines == tuple(
        f"{folder / INDEX}: files.{run}.safetensors: missing; "
        "expected a file for every run that is done"
        for run in ("bb", "cc")
    )


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "gone", "another run's"])
def test_a_file_that_is_not_the_one_of_the_index_raises(folder, damage):
    path = folder / "aa.safetensors"
    content = path.read_bytes()
    corrupted = {
        "flipped": content[:-1] + bytes([content[-1] ^ 1]),
        "cut": content[:-1],
        "empty": b"",
        "another run's": (folder / "12e3.safetensors").read_bytes(),
    }
    path.unlink() if damage == "gone" else path.write_bytes(corrupted[damage])
    with pytest.raises(Refusal) as refused:
        read(folder, "aa")
    (line,) = refused.value.lines
    assert line.startswith(f"{path}: missing or corrupted; expected sha256 ")
    assert read(folder, "12e3").examples == "images of 12e3"


def test_an_index_that_is_damaged_or_missing_raises(folder):
    text = (folder / INDEX).read_text()
    (folder / INDEX).write_text(text.replace("aa.safetensors", "bb.safetensors"))
    with pytest.raises(Refusal, match=INDEX):
        require_predictions(folder, ["bb"])
    (folder / INDEX).unlink()
    with pytest.raises(Refusal, match=INDEX):
        require_predictions(folder, ["aa"])
