"""Offline runs: time for W&B to write them, and what its own program reads in their folder."""

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE

from pipeline.tracking import mirror


def folder_of(place: Path, name: str) -> Path:
    """Return the one folder of the run `name` under `place`."""
    (folder,) = (place / "wandb").glob(f"offline-run-*-{name}")
    return folder


def inspected(folder: Path, *options: str) -> str:
    """Return what `wandb leet inspect` prints of an offline run; Python is not started for it."""
    core = Path(find_spec("wandb").origin).parent / "bin" / "wandb-core"
    (file,) = folder.glob("*.wandb")
    command = [core, "leet", "inspect", *options, "--json", "--run-file", file, folder.parent]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def records(folder: Path) -> list[dict[str, Any]]:
    """Return every record of an offline run, in order."""
    return [json.loads(line) for line in inspected(folder).splitlines()]


def curve(folder: Path) -> list[dict[str, Any]]:
    """Return the points of its history, without what W&B adds to them."""
    points = [item["history"]["item"] for item in records(folder) if item["type"] == "history"]
    return [
        {key: value for key, value in point.items() if not key.startswith("_")} for point in points
    ]


def wait_for_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give W&B as long as a busy machine takes, for tests whose subject is no limit."""
    for name in ("SEND_SECONDS", "WRITE_SECONDS", "CLOSE_SECONDS"):
        monkeypatch.setattr(mirror, name, float(PATIENCE))
    monkeypatch.setattr(mirror, "PATIENCE", PATIENCE)
