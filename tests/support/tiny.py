"""The tiny project: its settings, a copy of this project's code under git, what a run leaves.

Separate from the fixtures so that a benchmark can stand on the same project.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from pipeline.config.parameters import Execution, Parameters, Tracking
from pipeline.config.run import Data, Training
from pipeline.config.schema import Seeds
from pipeline.config.settings import Settings
from pipeline.config.start import Start

RUN = (sys.executable, "-m", "pipeline", "run")
ROOT = Path(__file__).resolve().parents[2]
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
claims:
  - {id: drop_helps, source: A paper, by: paper, says: It helps., expect: lower,
     contrast: {arm: dropout}}
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
SECTIONS = {"data": Data, "training": Training, "start": Start, "seeds": Seeds}
PARAMETERS = "protocols: [tiny]\nstudies: null\nexecution: {workers: 2}\n"


def write_project(folder: Path) -> None:
    """Write the settings files of the tiny project."""
    protocols = folder / "experiments" / "protocols"
    protocols.mkdir(parents=True)
    (protocols / "tiny.yaml").write_text(PROTOCOL)
    (folder / "experiments" / "dropout.yaml").write_text(DROPOUT)
    (folder / "experiments" / "others.yaml").write_text(OTHERS)
    (folder / "experiments" / "ensembles.yaml").write_text(ENSEMBLES)
    (folder / "experiments" / "variance.yaml").write_text(VARIANCE)
    (folder / "params.yaml").write_text(PARAMETERS)


def write_checkout(folder: Path, wandb: str = "disabled") -> None:
    """Write a copy of this project's code to a new folder, under git, with tiny settings."""
    keep = shutil.ignore_patterns("__pycache__", "*.egg-info", "cache", "tmp")
    folder.mkdir()
    for name in ("pipeline", ".dvc"):
        shutil.copytree(ROOT / name, folder / name, ignore=keep)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "pyproject.toml", "Makefile"):
        shutil.copyfile(ROOT / name, folder / name)
    write_project(folder)
    (folder / "params.yaml").write_text(parameters_text(wandb))
    identity = {
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@example.org",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@example.org",
    }
    for command in (["git", "init", "-q"], ["git", "add", "-A"], ["git", "commit", "-qm", "start"]):
        subprocess.run(command, cwd=folder, check=True, env=os.environ | identity)


def parameters_text(wandb: str) -> str:
    """Return a params.yaml in which every key has its default or the tiny project's value.

    The sections `source` and `model` are empty: naming their keys takes an import of torch.
    The project's own params.yaml is not read, because users change it.
    """
    values = {
        "protocols": ["tiny"],
        "source": {},
        "model": {},
        **{section: dict.fromkeys(keys(kind)) for section, kind in SECTIONS.items()},
        "execution": Execution().model_dump(),
        "tracking": Tracking(wandb=wandb).model_dump(),
    }
    lines = []
    for section in Parameters.model_fields:
        value = values.get(section)
        if isinstance(value, dict) and value:
            lines.append(f"{section}:")
            lines += [f"  {key}: {json.dumps(given)}" for key, given in value.items()]
        else:
            lines.append(f"{section}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def keys(kind: type[Settings]) -> list[str]:
    """Return the keys of a section of params.yaml."""
    return [field.alias or name for name, field in kind.model_fields.items()]


def write_clone(checkout: Path, folder: Path) -> Path:
    """Make a fresh clone of a checkout, with an empty run store."""
    subprocess.run(["git", "clone", "-q", str(checkout), str(folder)], check=True)
    return folder


def clean_environment(site: Path) -> dict[str, str]:
    """Return an environment with this interpreter's `python` first, no store and nothing of W&B.

    DVC's own files are in `site`.
    """
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("WANDB", "GAPWISE", "DVC"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return kept | {"PATH": path, "DVC_SITE_CACHE_DIR": str(site)}


def tables(folder: Path) -> dict[str, bytes]:
    """Return every table and all of the report, the wall clock apart."""
    files = [
        *(folder / "artifacts" / "tiny").glob("*.csv"),
        *(folder / "reports" / "tiny").rglob("*"),
    ]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.is_file() and path.stem != "timing"
    }


def trained(folder: Path) -> dict[str, int]:
    """Return fingerprint -> when its record was written, in nanoseconds."""
    return {
        path.parent.name: path.stat().st_mtime_ns
        for path in (folder / ".runs").glob("*/record.json")
    }
