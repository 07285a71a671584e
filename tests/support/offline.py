"""What W&B's own command reads in the folder of offline runs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def folder_of(place: Path, name: str) -> Path:
    """Return the one folder of the run `name` under `place`."""
    (found,) = (place / "wandb").glob(f"offline-run-*-{name}")
    return found


def inspected(folder: Path, *options: str) -> str:
    """Return what `wandb leet inspect` prints of an offline run."""
    command = [
        str(Path(sys.executable).with_name("wandb")),
        "leet",
        "inspect",
        *options,
        "--json",
        str(folder),
    ]
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
