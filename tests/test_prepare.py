"""The first stage: data that cannot be split are an error, nothing is written; notes are kept."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stages import run_stages

from pipeline import cli, prepare, train
from pipeline.data.prepared import read_development, read_summary
from pipeline.data.splits import train_validation
from pipeline.planning.sizes import require_arm_sizes, require_protocol_sizes
from pipeline.planning.studies import read_experiment
from pipeline.runtime.errors import Refusal

DATA = Path("artifacts/tiny/data")
LABELS = np.arange(60) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
TEST = {
    "test_images": np.random.default_rng(1).integers(0, 256, (30, 8, 8), np.uint8),
    "test_labels": LABELS[:30],
}
FILE = "experiments/protocols/tiny.yaml"
HELD = {
    "validation_images": np.random.default_rng(2).integers(0, 256, (30, 8, 8), np.uint8),
    "validation_labels": LABELS[:30],
}


def set_source(source, **data):
    """Make the tiny protocol use these data."""
    given = {"test_fraction": 0.3, "train_size": 20} | data
    path = Path(FILE)
    rest = [
        line for line in path.read_text().splitlines() if not line.startswith(("data:", "source:"))
    ]
    path.write_text(
        "\n".join([f"source: {source}", f"data: {given}", *rest]).replace("'", "") + "\n"
    )


@pytest.fixture
def prepared(project):
    """Return a function that prepares the tiny protocol from arrays and returns the summary."""

    def done(labels=LABELS, more=None, images=IMAGES, **data):
        np.savez(project / "a.npz", images=images, labels=labels, **(more or {}))
        set_source({"path": str(project / "a.npz")}, dataset="array_files", **data)
        run_stages(prepare)
        return read_summary(DATA)

    return done


def few(count):
    """Return labels with `count` examples of class 2."""
    return np.where(np.arange(60) < count, 2, np.arange(60) % 2)


def refusal(prepared, *given, **data) -> str:
    """Return the one line of the error; nothing is written."""
    with pytest.raises(Refusal) as refused:
        prepared(*given, **data)
    assert not DATA.exists()
    (line,) = refused.value.lines
    return line


def planned() -> str:
    """Return the one line of the error of `plan`, before anything is prepared."""
    with pytest.raises(Refusal) as refused:
        require_protocol_sizes(read_experiment("tiny").protocol)
    (line,) = refused.value.lines
    return line


@pytest.mark.parametrize(
    ("count", "more", "data", "words"),
    [
        (
            1,
            {},
            {},
            "data.dataset: too few examples of class 2 (1) in the pool; "
            "expected >= 3 of each class (one for training, validation, test), or",
        ),
        (
            2,
            {},
            {},
            "data.dataset: too few examples of class 2 (2) in the pool; "
            "expected >= 3 of each class (one for training, validation, test), or",
        ),
        (
            1,
            TEST,
            {},
            "data.dataset: too few examples of class 2 (1) in the pool; "
            "expected >= 2 of each class (one for training, validation), or",
        ),
        (
            1,
            HELD,
            {},
            "data.dataset: too few examples of class 2 (1) in the pool; "
            "expected >= 2 of each class (one for training, test), or",
        ),
    ],
)
def test_a_class_with_too_few_examples_is_named(prepared, count, more, data, words):
    line = refusal(prepared, few(count), more, **data)
    assert line.startswith(f"{FILE}: {words}")


def test_a_class_with_just_enough(prepared):
    assert prepared(few(3))["development"] == 42
    assert prepared(few(2), TEST)["test"] == 30
    assert prepared(few(1), HELD | TEST, train_size=60)["development"] == 90
    assert prepared(few(1), HELD | TEST)["development"] == 90
    assert prepared(few(3), test_fraction=0.9, train_size=3)["development"] == 6


@pytest.mark.parametrize(
    ("more", "data", "words"),
    [
        (
            {},
            {"train_size": 50},
            "data.train_size: 50 of 42 examples in 3 classes; expected 3 to 39",
        ),
        (
            {},
            {"train_size": 20, "validation_size": 30},
            "data.validation_size: 30 of 22 examples in 3 classes; expected 3 to 22",
        ),
        (
            HELD,
            {"train_size": 43},
            "data.train_size: 43 of 42 examples in 3 classes; expected 3 to 42",
        ),
    ],
)
def test_sizes_that_the_pool_cannot_give(prepared, more, data, words):
    line = refusal(prepared, LABELS, more, **data)
    assert line.startswith(f"{FILE}: {words}")
    assert planned() == line


@pytest.mark.parametrize("train_size", [41, 42])
def test_with_a_validation_set_of_its_own_all_other_examples_may_be_trained_on(
    prepared, train_size
):
    assert prepared(LABELS, HELD, train_size=train_size)["development"] == 72
    assert require_protocol_sizes(read_experiment("tiny").protocol).validation == 30


def test_sizes_are_checked_where_the_source_has_gone(prepared, project):
    prepared()
    (project / "a.npz").unlink()
    Path(FILE).write_text(Path(FILE).read_text().replace("train_size: 20", "train_size: 50"))
    assert planned().endswith("data.train_size: 50 of 42 examples in 3 classes; expected 3 to 39")


def test_sizes_of_an_image_folder_are_checked_by_its_files(project):
    for index in range(40):
        path = project / "animals" / ("cat", "dog")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    source = {"path": str(project / "animals"), "size": 8}
    set_source(source, dataset="image_folder", train_size=100)
    assert planned().endswith("data.train_size: 100 of 28 examples in 2 classes; expected 2 to 26")
    set_source(source, dataset="image_folder", train_size=20)
    path = project / "experiments" / "others.yaml"
    path.write_text(f"{path.read_text()}  more:\n    - {{protocol: {{data.train_size: 27}}}}\n")
    development = require_protocol_sizes(read_experiment("tiny").protocol)
    with pytest.raises(Refusal, match="arms.more: data.train_size: 27 of 28"):
        require_arm_sizes(read_experiment("tiny"), development)


@pytest.mark.parametrize(
    ("rows", "more", "words"),
    [
        (lambda number: f"{number},{number % 2},p{number}", "", "data.train_size: 50 of 28 exam"),
        (lambda number: f"{number},{number % 2},p{number % 4}", ", group: g", "whole groups"),
        (lambda number: f"{number},{number % 39 == 0},p{number}", "", "examples of class True (2)"),
    ],
)
def test_sizes_of_a_table_are_checked_by_its_rows(project, rows, more, words):
    """Before `prepare`, with the same line, groups and names of classes included."""
    text = "\n".join(map(rows, range(40)))
    (project / "x.csv").write_text(f"a,y,g\n{text}\n")
    protocol = Path(FILE)
    lines = [line for line in protocol.read_text().splitlines() if not line.startswith("model:")]
    protocol.write_text("\n".join([*lines, "model: {name: mlp, hidden: [4]}"]))
    ignored = "" if more else ", ignore: [g]"
    set_source(f"{{path: x.csv, label: y{more}{ignored}}}", dataset="table", train_size=50)
    (project / "params.yaml").write_text("protocols: [tiny]\nstudies: [dropout]\n")
    line = planned()
    assert words in line
    with pytest.raises(Refusal) as refused:
        run_stages(prepare)
    assert refused.value.lines == (line,)


def test_the_commands_check_sizes(prepared, capsys):
    with pytest.raises(Refusal):
        prepared(train_size=50)
    for command in (cli.plan, lambda: cli.doctor(model=True)):
        with pytest.raises(SystemExit) as ended:
            command()
        assert ended.value.code
        assert "data.train_size: 50 of 42" in " ".join(capsys.readouterr().err.split())


def test_notes_are_printed_and_kept(prepared, capsys):
    same = np.concatenate([IMAGES[:4], TEST["test_images"][4:]])
    notes = prepared(LABELS, TEST | {"test_images": same, "test_labels": LABELS[:30] % 2})["notes"]
    assert notes[0] == "4 of 30 test images are also training images: scores on them are too high"
    assert notes[1].startswith("test: no example of class 2; expected")
    printed = capsys.readouterr().out
    assert all(f"note: {note}\n" in printed for note in notes)


def test_nothing_to_note(project):
    run_stages(prepare)
    assert read_summary(DATA)["notes"] == []


def test_files_that_were_left_out_are_kept_as_a_note(project, capsys):
    for index in range(20):
        path = project / "animals" / ("cat", "dog")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(IMAGES[index]).save(path)
    (project / "animals" / "cat" / "bad.png").write_bytes(b"")
    source = {"path": str(project / "animals"), "size": 8, "unreadable": "skip"}
    set_source(source, dataset="image_folder", train_size=10)
    run_stages(prepare)
    line = "animals: 1 of 21 files unreadable: cat/bad.png (empty); left out"
    assert line in read_summary(DATA)["notes"]
    assert capsys.readouterr().err.count("left out") == 1


@pytest.mark.parametrize("study", ["others", "variance"])
def test_a_size_of_a_study_that_the_pool_cannot_give(project, study):
    """It is found before anything is trained, also in studies that explore nothing."""
    run_stages(prepare)
    path = project / "experiments" / f"{study}.yaml"
    path.write_text(f"{path.read_text()}  more:\n    - {{protocol: {{data.train_size: 1075}}}}\n")
    with pytest.raises(Refusal) as refused:
        run_stages(train)
    (line,) = refused.value.lines
    expected = "data.train_size: 1075 of 1078 examples in 10 classes; expected 10 to 1068"
    assert line == f"experiments/{study}.yaml: arms.more: {expected}"
    assert not (project / ".runs").exists()


def test_a_rare_class_is_in_every_split(prepared):
    labels = np.where(np.arange(60) < 5, 1, 0)
    prepared(labels, train_size=4)
    development = read_development(DATA)
    for seed in range(20):
        for part in train_validation(development.labels, 4, seed):
            assert set(development.labels[part]) == {0, 1}


def test_what_is_prepared_is_enough_where_the_source_has_gone(prepared, project, capsys):
    before = prepared()
    network = Path("experiments/protocols/tiny.yaml").read_text()
    (project / "a.npz").rename(project / "away.npz")
    assert read_experiment("tiny").protocol.source["path"] == str(project / "a.npz")
    Path(FILE).write_text(network.replace("epochs: 2", "epochs: 3"))
    run_stages(prepare)
    assert "kept what was prepared with the same settings" in capsys.readouterr().out
    assert read_summary(DATA) == before


def test_without_source_and_arrays_the_recorded_ones_are_named(prepared, project):
    prepared()
    (project / "a.npz").unlink()
    shutil.rmtree(DATA)
    for lock, words in (("", "a.npz: missing"), (f"- path: {DATA}\n", f"dvc checkout {DATA}")):
        Path("dvc.lock").write_text(lock)
        with pytest.raises(Refusal) as refused:
            read_experiment("tiny")
        (line,) = refused.value.lines
        assert words in line
        assert ("dvc checkout" in line) == bool(lock)


def test_published_files_that_are_nowhere_name_the_key_of_the_protocol(project):
    set_source({}, dataset="mnist")
    with pytest.raises(Refusal) as refused:
        run_stages(prepare)
    (line,) = refused.value.lines
    assert line.startswith(f"{FILE}: source.path: missing; expected a folder with ")


@pytest.mark.parametrize(
    ("old", "new"), [("path:", "layout: NHW, path:"), ("test_fraction: 0.3", "test_fraction: 0.2")]
)
def test_with_other_settings_the_source_is_asked_again(prepared, project, old, new):
    prepared()
    (project / "a.npz").unlink()
    Path(FILE).write_text(Path(FILE).read_text().replace(old, new))
    with pytest.raises(Refusal, match="a.npz"):
        run_stages(prepare)


def test_damaged_arrays_are_not_kept(prepared, project):
    prepared()
    (project / "a.npz").unlink()
    (DATA / "test_images.npy").write_bytes(b"")
    with pytest.raises(Refusal, match="test_images.npy: missing or corrupted"):
        run_stages(prepare)
