"""A tiny project in a temporary folder, and small runs: what most tests stand on."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import data
from pipeline.config.fingerprint import RunConfig
from pipeline.config.streams import Streams
from pipeline.data.arrays import Arrays
from pipeline.data.splits import hold_out

ROOT = Path(__file__).resolve().parent.parent
MODEL = {"name": "resnet", "widths": (4, 8), "blocks": 1, "hidden": 8, "grid": 1, "batch_norm": True}
TRAINING = {"learning_rate": 0.05, "momentum": 0.9, "schedule": "one_cycle", "epochs": 2, "batch_size": 10, "curve_points": 2}
PROTOCOL = """
data: {dataset: digits, train_size: 30, label_noise: 0.0, test_fraction: 0.4}
model: {name: resnet, widths: [4, 8], blocks: 1, hidden: 8, grid: 1}
training: {learning_rate: 0.05, epochs: 2, batch_size: 10, curve_points: 2}
seeds: {exploration: 2, confirmation: 3}
margin: 0.01
studies: [dropout, others, ensembles, variance]
"""
DROPOUT = """
question: Does dropout close the gap?
arms:
  dropout:
    - {name: dropout, rate: [0.1, 0.5]}
"""
OTHERS = """
question: What do the others do?
arms:
  weight_decay:
    - {name: weight_decay, strength: 0.01}
  shift:
    - {name: augmentation, shift: [0.5, 1.0]}
"""
ENSEMBLES = """
question: What do ensembles buy?
ensemble: {groups: 2, size: 2}
arms:
  snapshots:
    - {protocol: {training.schedule: cyclic_cosine, training.snapshots: 2}}
  weight_averaging:
    - {name: weight_averaging, decay: 0.5}
"""
VARIANCE = """
question: Where does the spread come from?
variance: {groups: 2, draws: 1}
arms:
  dropout:
    - {name: dropout, rate: 0.3}
"""
PARAMETERS = "protocols: [tiny]\nstudies: null\n"


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pool() -> Arrays:
    """The development pool of the digits."""
    arrays = data.read("digits")
    return arrays.take(hold_out(arrays.labels, 0.4)[0])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny project: the current folder, with a run store of its own."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAPWISE_STORE", str(tmp_path / ".runs"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return tmp_path


@pytest.fixture(scope="session", name="write_project")
def _write_project():
    """Writes the settings files of the tiny project into a folder."""
    return write_project


def write_project(folder: Path) -> None:
    """Settings files of the tiny project."""
    protocols = folder / "experiments" / "protocols"
    protocols.mkdir(parents=True)
    (protocols / "tiny.yaml").write_text(PROTOCOL)
    (folder / "experiments" / "dropout.yaml").write_text(DROPOUT)
    (folder / "experiments" / "others.yaml").write_text(OTHERS)
    (folder / "experiments" / "ensembles.yaml").write_text(ENSEMBLES)
    (folder / "experiments" / "variance.yaml").write_text(VARIANCE)
    (folder / "params.yaml").write_text(PARAMETERS)


@pytest.fixture
def configure():
    """Makes a small run's settings: configure({"name": "dropout", "rate": 0.5}, seed=1, epochs=3, streams={"init": 7})."""

    def made(*regularizers: dict[str, Any], seed: int = 0, streams: dict[str, int] | None = None, **training: Any) -> RunConfig:
        return RunConfig(
            data={"dataset": "digits", "train_size": 30, "label_noise": 0.0, "test_fraction": 0.4},
            model=MODEL,
            training=TRAINING | training,
            regularizers=regularizers,
            streams=Streams.of(seed).model_copy(update=streams or {}),
        )

    return made


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project's code under git, for tests that run its commands or change its files."""
    folder = tmp_path_factory.mktemp("checkout") / "project"
    keep = shutil.ignore_patterns("__pycache__", "*.egg-info", "cache", "tmp")
    folder.mkdir()
    for name in ("pipeline", ".dvc"):
        shutil.copytree(ROOT / name, folder / name, ignore=keep)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "pyproject.toml", "Makefile"):
        shutil.copyfile(ROOT / name, folder / name)
    write_project(folder)
    complete = (ROOT / "params.yaml").read_text().replace("[digits]", "[tiny]").replace("wandb: offline", "wandb: disabled")
    (folder / "params.yaml").write_text(complete)
    identity = {
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@example.org",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@example.org",
    }
    for command in (["git", "init", "-q"], ["git", "add", "-A"], ["git", "commit", "-qm", "start"]):
        subprocess.run(command, cwd=folder, check=True, env=os.environ | identity)
    return folder
