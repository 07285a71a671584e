"""The examples of docs/data.md and docs/models.md work as they stand."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import write_clone

from pipeline import cli

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "data.md").read_text() + (DOCS / "models.md").read_text()


SOURCES = dict(
    zip(
        ("folder", "arrays", "table", "scans"),
        re.findall(r"^source: .*\ndata: .*\n", PAGE, re.MULTILINE),
        strict=True,
    )
)


LENET = "{{import: 'experiments.networks:LeNet', arguments: {{channels: {}, classes: 2}}}}"

SCRIPT = """
import sys
from pipeline import prepare, train
for protocol in sys.argv[1:]:
    prepare.main(protocol)
    train.main(protocol)
"""


@pytest.fixture
def extended(checkout, tmp_path):
    """Return a clone with the files of the pages, and 200 images, in each of its three ways.

    Their brightness gives the class. And a table, whose first column does.
    """
    folder = write_clone(checkout, tmp_path / "clone")
    for name, content in re.findall(
        r"^`([\w/.]+)`\n\n```\w+\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE
    ):
        (folder / name).write_text(content)
    labels = np.arange(200) % 2
    images = (
        np.random.default_rng(1).integers(0, 128, (200, 16, 16, 3))
        + 100 * labels[:, None, None, None]
    )
    np.savez(folder / "photographs.npz", images=images.astype(np.uint8), labels=labels)
    pd.DataFrame(
        {
            "größe": np.where(np.arange(200) % 20, 10 * labels + images[:, 0, 0, 0] / 128, np.nan),
            "都市": np.where(np.arange(200) % 3, "Köln", "東京"),
            "clinic": np.arange(200) // 5,
            "diagnosis": np.where(labels, "krank", "gesund"),
        }
    ).to_csv(folder / "patients.csv", index=False)
    np.savetxt(
        folder / "scans.csv",
        np.c_[labels, images[:, ::2, ::2, 0].reshape(200, 64) / 16],
        delimiter=",",
    )
    for name in ("cat", "dog"):
        (folder / "photographs" / name).mkdir(parents=True)
    for number, (image, label) in enumerate(zip(images.astype(np.uint8), labels, strict=True)):
        Image.fromarray(image).save(
            folder / "photographs" / ("cat", "dog")[label] / f"{number}.png"
        )
    return folder


PERCEPTRON = "{name: mlp, hidden: [16]}"
WAYS = {  # way -> another model than the page has
    "folder": "",
    "arrays": LENET.format(3),
    "scans": LENET.format(1),
    "table": PERCEPTRON,
}


def test_own_data_and_own_model_train(extended, command):
    """In each of the ways, a protocol for each."""
    protocols = extended / "experiments" / "protocols"
    text = (protocols / "photographs.yaml").read_text()
    text = re.sub("studies: .*", "studies: [dropout]", text)
    text = re.sub("exploration: 2", "exploration: 1", re.sub("tune: .*", "", text))
    text = re.sub(
        r"epochs: \d+", "epochs: 12", re.sub(r"curve_points: \d+", "curve_points: 1", text)
    )
    for way, model in WAYS.items():
        changed = text.replace(SOURCES["folder"], SOURCES[way])
        changed = re.sub("model: .*", f"model: {model}", changed) if model else changed
        (protocols / f"{way}.yaml").write_text(changed)
    done = command(sys.executable, "-c", SCRIPT, *WAYS, at=extended)
    assert done.returncode == 0, done.stderr
    for way, model in WAYS.items():
        runs = list((extended / "artifacts" / way / "exploration").glob("*/run.json"))
        assert len(runs) == 3
        for path in runs:
            named = json.loads(path.read_text())["model"]["name"]
            assert named == {"": "cnn", PERCEPTRON: "mlp"}.get(model, "imported")
            curve = (path.parent / "history.jsonl").read_text().splitlines()
            assert json.loads(curve[-1])["accuracy"] > 0.9


def test_a_regularizer_without_a_site_in_the_network_raises_when_it_is_planned(
    extended, monkeypatch, capsys
):
    protocol = extended / "experiments" / "protocols" / "photographs.yaml"
    protocol.write_text(re.sub("studies: .*", "studies: [depth]", protocol.read_text()))
    study = (
        "question: Does it help?\narms:\n  depth:\n    - {name: stochastic_depth, survival: 0.8}\n"
    )
    (extended / "experiments" / "depth.yaml").write_text(study)
    (extended / "params.yaml").write_text("protocols: [photographs]\n")
    monkeypatch.chdir(extended)
    with pytest.raises(SystemExit, match="^2$"):
        cli.plan()
    errors = capsys.readouterr().err
    assert "depth.yaml" in errors
    assert all(line.startswith("error: ") for line in errors.splitlines())
