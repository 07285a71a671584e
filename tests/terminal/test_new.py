"""`new`: a protocol is written for data that none names, or one line says why not."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline import cli
from pipeline.config.yaml_files import read_yaml
from pipeline.planning.proposal import Speed
from pipeline.runtime.errors import Refusal
from pipeline.terminal import new

ROOT = Path(__file__).resolve().parents[2]
SPEED = Speed(start=0.2, update=0.002, score=1e-5)
NETWORK = """
import torch

class Net(torch.nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(64, hidden), torch.nn.ReLU()
        )
        self.head = torch.nn.Linear(hidden, 2)

    def forward(self, images):
        return self.head(self.body(images))
"""


@pytest.fixture
def with_images(project, monkeypatch):
    """Return a project with real studies and 60 images of two classes in `my photos`."""
    for name in ("dropout", "augmentation", "flip_and_shift", "weight_decay"):
        shutil.copy(ROOT / "experiments" / f"{name}.yaml", project / "experiments")
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        folder = project / "my photos" / name
        folder.mkdir(parents=True)
        for number in range(30):
            levels = generator.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(levels).save(folder / f"{number}.png")
    monkeypatch.setattr(new, "measure_speed", lambda *_: SPEED)
    return project


def files(project):
    kept = (path for path in project.rglob("*") if path.is_file())
    return {path for path in kept if not {".data", ".runs"} & set(path.parts)}


def run(*words):
    with pytest.raises(SystemExit) as ended:
        cli.application([*map(str, words)])
    return ended.value.code


def test_only_the_protocol_is_written_and_the_command_is_printed(with_images, capsys):
    before = files(with_images)
    assert run("new", "my photos", "--minutes", 5) == 0
    protocol = with_images / "experiments" / "protocols" / "my_photos.yaml"
    assert files(with_images) - before == {protocol}
    document = read_yaml(protocol)
    assert document["source"] == {"path": "my photos", "color": "grayscale", "size": 8}
    assert document["studies"] == ["dropout", "augmentation", "weight_decay"]
    printed = capsys.readouterr().out
    assert "classes: cat (30), dog (30)\n" in printed
    assert "short axis: 8 pixels\n" in printed
    assert "warning: the margin of 5 points is below one of 18 test images" in printed
    assert printed.splitlines()[-1] == "run: gapwise run --protocol my_photos"
    assert run("plan", "--protocol", "my_photos") == 0
    announced = [
        re.findall(r"^(?:at most|\d+ runs to train).*", text, re.M)
        for text in (printed, capsys.readouterr().out)
    ]
    assert len(announced[0]) == 2
    runs = re.search(r"at most (\d+) runs", printed)[1]
    assert f"{runs} runs in all" in protocol.read_text()
    assert announced[0] == announced[1]


def test_every_value_has_its_reason(with_images):
    assert run("new", "my photos") == 0
    lines = (with_images / "experiments" / "protocols" / "my_photos.yaml").read_text().splitlines()
    for key in ("test_fraction", "train_size", "epochs", "batch_size", "margin", "studies", "name"):
        place = next(n for n, line in enumerate(lines) if line.strip().startswith(f"{key}:"))
        assert lines[place - 1].strip().startswith("# "), key
    assert max(map(len, lines)) <= 100


def test_a_table_is_read_as_its_columns_say(with_images, capsys):
    generator = np.random.default_rng(0)
    for name in ("input_noise", "mixup"):
        shutil.copy(ROOT / "experiments" / f"{name}.yaml", with_images / "experiments")
    frame = pd.DataFrame(generator.normal(size=(90, 3)), columns=["größe", "b", "c"])
    frame.loc[:9, "b"] = np.nan
    frame["patient_id"] = np.arange(90) // 3
    frame["label"] = np.where(np.arange(90) % 3, "häufig", "selten | 稀")
    frame.to_csv(with_images / "tabelle ü.csv", index=False)
    assert run("new", "tabelle ü.csv", "--label", "label", "--minutes", 5) == 0
    document = read_yaml(with_images / "experiments" / "protocols" / "tabelle_u.yaml")
    source = {"path": "tabelle ü.csv", "label": "label", "group": "patient_id", "missing": "impute"}
    assert document["source"] == source
    assert document["model"]["name"] == "mlp"
    assert set(document["studies"]) <= {"dropout", "weight_decay", "mixup", "input_noise"}
    assert "classes: häufig (60), selten | 稀 (30)\n" in capsys.readouterr().out
    for words, line in (
        ((), "--label: missing"),
        (("--label", "labl"), "did you mean 'label'?"),
        (("--label", "label", "--network", "cnn"), "cnn takes images"),
        (("--label", "label", "--studies", "augmentation"), "does not apply to rows of a table"),
    ):
        assert run("new", "tabelle ü.csv", "--name", "other", *words) == 2
        assert line in capsys.readouterr().err


def test_a_path_is_relative_to_the_current_folder_and_may_lie_outside(
    with_images, tmp_path_factory
):
    outside = tmp_path_factory.mktemp("außen") / "bilder 2"
    shutil.copytree(with_images / "my photos", outside)
    (with_images / "sub").mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(with_images / "sub")
        assert run("new", "../my photos", "--name", "inside") == 0
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(with_images)
        assert run("new", outside) == 0
    protocols = with_images / "experiments" / "protocols"
    assert read_yaml(protocols / "inside.yaml")["source"]["path"] == "my photos"
    assert read_yaml(protocols / "bilder_2.yaml")["source"]["path"] == str(outside)


def test_files_that_cannot_be_read_are_named_before_anything_is_timed(
    with_images, monkeypatch, capsys
):
    (with_images / "my photos" / "cat" / "empty.png").write_bytes(b"")
    with monkeypatch.context() as patched:
        patched.setattr(new, "measure_speed", lambda *_: pytest.fail("timed"))
        assert run("new", "my photos") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert line.endswith(
        "1 of 61 files unreadable: cat/empty.png (empty); expected still PNG, "
        "JPEG, BMP, WEBP, GIF, TIFF or PPM, or --unreadable skip"
    )
    assert run("new", "my photos", "--unreadable", "skip", "--minutes", 5) == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("column a b, c: no values; expected source.ignore: [a b, c]", "--ignore 'a b' --ignore c"),
        ("a: source.categories: unknown column q", "a: --category: unknown column q"),
        ("expected source.separator: ';'", "expected --separator ';'"),
        ("or columns in source.ignore", "or columns in --ignore"),
        ("expected source.missing: impute", "expected source.missing: impute"),
    ],
)
def test_errors_name_options_where_sources_name_keys(line, expected):
    with pytest.raises(Refusal) as refused, new._options_in_errors(Path("t.csv")):
        raise Refusal(line)
    assert str(refused.value).endswith(expected)


def test_a_protocol_is_replaced_by_force_alone(with_images, capsys):
    protocol = with_images / "experiments" / "protocols" / "tiny.yaml"
    before = protocol.read_text()
    assert run("new", "my photos", "--name", "tiny") == 2
    assert "tiny.yaml: exists; expected another --name, or --force" in capsys.readouterr().err
    assert protocol.read_text() == before
    assert run("new", "my photos", "--name", "tiny", "--force") == 0
    assert read_yaml(protocol)["source"]["path"] == "my photos"


def test_what_is_chosen_is_written(with_images):
    chosen = {
        "--name": "a",
        "--network": "mlp",
        "--studies": "weight_decay",
        "--train-size": 20,
        "--test-fraction": 0.4,
        "--batch-size": 5,
        "--epochs": 3,
        "--learning-rate": 0.01,
        "--exploration": 1,
        "--confirmation": 4,
        "--margin": 0.1,
        "--size": 4,
        "--color": "rgb",
        "--white": 250,
        "--unreadable": "skip",
    }
    words = [word for pair in chosen.items() for word in pair]
    assert run("new", "my photos", *words, "--flips") == 0
    assert read_yaml(with_images / "experiments" / "protocols" / "a.yaml") == {
        "source": {
            "path": "my photos",
            "unreadable": "skip",
            "flips_keep_labels": True,
            "color": "rgb",
            "white": 250.0,
            "size": 4,
        },
        "data": {"dataset": "image_folder", "test_fraction": 0.4, "train_size": 20},
        "model": {"name": "mlp", "hidden": [64, 64]},
        "training": {"learning_rate": 0.01, "epochs": 3, "batch_size": 5},
        "tune": {"training.learning_rate": {"log": [0.0025, 0.04], "points": 5}},
        "seeds": {"exploration": 1, "confirmation": 4},
        "margin": 0.1,
        "studies": ["weight_decay"],
        "seconds_per_run": read_yaml(with_images / "experiments/protocols/a.yaml")[
            "seconds_per_run"
        ],
    }


def test_mirrored_images_are_studied_where_they_keep_their_label(with_images):
    assert run("new", "my photos", "--flips") == 0
    studies = read_yaml(with_images / "experiments" / "protocols" / "my_photos.yaml")["studies"]
    assert "flip_and_shift" in studies


def test_an_own_network_is_shown_with_its_sites(with_images, capsys):
    (with_images / "experiments" / "nets.py").write_text(NETWORK)
    words = ("--model", "experiments.nets:Net", "--arguments", '{"hidden": 16}')
    assert run("new", "my photos", *words) == 0
    model = read_yaml(with_images / "experiments" / "protocols" / "my_photos.yaml")["model"]
    assert model == {"import": "experiments.nets:Net", "arguments": {"hidden": 16}}
    assert "body.1" in capsys.readouterr().out


def test_copies_in_two_splits_are_a_warning(with_images, capsys):
    for name in ("cat", "dog"):
        for number in range(15):
            copy = with_images / "my photos" / name / f"copy {number}.png"
            shutil.copy(with_images / "my photos" / name / f"{number}.png", copy)
    assert run("new", "my photos") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(r"warning: \d+ of \d+ test images are also training images", printed)


def test_overrides_of_params_yaml_are_a_warning(with_images, capsys):
    (with_images / "params.yaml").write_text("protocols: [tiny]\ntraining: {epochs: 3}\n")
    assert run("new", "my photos") == 0
    assert "warning: params.yaml overrides training.epochs" in capsys.readouterr().out


BAD = [
    (["nowhere"], "nowhere: missing; expected a folder"),
    (["my photos", "--name", "My-Photos"], "new: --name: invalid value"),
    (["my photos", "--name", ""], "new: --name: invalid value"),
    (
        ["my photos", "--minutes", "0"],
        "new: --minutes: invalid value 0; expected a finite number > 0",
    ),
    (["my photos", "--minutes", "inf"], "new: --minutes: invalid value inf; expected a finite "),
    (["my photos", "--minutes", "nan"], "--minutes: invalid value nan"),
    (["my photos", "--minutes", "0.5"], "--minutes 0.5: too few for these data; expected >= "),
    (["my photos", "--size", "0"], "--size: invalid value 0; expected an integer >= 4 and <= 512"),
    (["my photos", "--layout", "HWN"], 'new: --layout: invalid value "HWN"; expected one of: '),
    (
        ["my photos", "--color", "blu"],
        'new: --color: invalid value "blu"; expected one of: rgb, gray',
    ),
    (["my photos", "--unreadable", "kip"], "expected one of: refuse, skip; did you mean 'skip'?"),
    (["my photos", "--label", "a"], "new: --label: not applicable to a folder of images; remove "),
    (["my photos", "--network", "vit"], "new: --network: unknown name 'vit'"),
    (["my photos", "--studies", "none"], "new: --studies: unknown name 'none'"),
    (["my photos", "--batch-size", "1"], "new: --batch-size: invalid value 1"),
    (["my photos", "--epochs", "0"], "new: --epochs: invalid value 0"),
    (
        ["my photos", "--margin", "2"],
        "new: --margin: invalid value 2; expected a number > 0 and < 1",
    ),
    (["my photos", "--test-fraction", "1.5"], "new: --test-fraction: invalid value 1.5"),
    (["my photos", "--train-size", "59"], "new: --train-size: 59 of "),
    (["my photos", "--confirmation", "0"], "new: --confirmation: invalid value 0"),
    (["my photos", "--exploration", "-1"], "new: --exploration: invalid value -1"),
    (["my photos", "--learning-rate", "0"], "new: --learning-rate: invalid value 0"),
    (["my photos", "--model", "no.such:Net"], "new: --model: no.such:Net cannot be made"),
    (["my photos", "--model", "Net"], 'new: --model: invalid value "Net"; expected module:name'),
    (["my photos", "--arguments", "[1]"], "new: --arguments: invalid value"),
    (["my photos", "--arguments", "{}"], "new: --arguments: no effect without --model"),
    (["my photos/cat"], "0 folders of classes"),
]


@pytest.mark.parametrize(("words", "line"), BAD, ids=lambda value: str(value)[-40:])
def test_bad_input_is_one_line_and_nothing_is_written(with_images, capsys, words, line):
    before = files(with_images)
    assert run("new", *words) == 2
    lines = capsys.readouterr().err.splitlines()
    errors = [text for text in lines if text.startswith("error: ")]
    assert len(errors) == 1
    assert line in errors[0]
    assert files(with_images) == before


def test_an_unreadable_file_raises_or_is_skipped(with_images, capsys):
    (with_images / "my photos" / "cat" / "broken.png").write_bytes(b"\x89PNG")
    assert run("new", "my photos") == 2
    assert "1 of 61 files unreadable: cat/broken.png" in capsys.readouterr().err
    assert run("new", "my photos", "--unreadable", "skip") == 0
