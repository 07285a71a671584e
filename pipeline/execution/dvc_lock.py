"""Keeps `dvc.lock` readable: DVC does not write it atomically, so a kill can damage it."""

import subprocess
from pathlib import Path
from typing import Any

from pipeline.config.yaml_files import parse_yaml
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import write_text
from pipeline.runtime.locks import PRIVATE

DVC_LOCK = Path("dvc.lock")


def is_sound(path: Path) -> bool:
    """Whether a lock file of DVC parses and every stage in it is whole."""
    return _parses(path.read_bytes())


def mend_dvc_lock(folder: Path = PRIVATE) -> str:
    """Puts a `dvc.lock` back that a kill has damaged, from the last good copy or from git; what was done, or nothing."""
    if not DVC_LOCK.exists() or _parses(DVC_LOCK.read_bytes()):
        return ""
    kept = folder / "dvc.lock"
    shown = subprocess.run(["git", "show", "HEAD:dvc.lock"], capture_output=True, check=False)
    for name, content in (
        ("the last good copy", kept.read_bytes() if kept.exists() else b""),
        ("git", shown.stdout),
    ):
        if content and _parses(content):
            write_text(DVC_LOCK, content.decode())
            return f"dvc.lock was damaged, as by a kill; restored from {name}"
    DVC_LOCK.unlink()
    return "dvc.lock was damaged, as by a kill, and no good copy was found; removed: finished runs are kept all the same"


def _is_stage(entry: Any) -> bool:
    """What DVC asks of an entry: a command, and files with a path and a hash."""
    files = [file for kind in ("deps", "outs") for file in entry.get(kind, ())]
    return isinstance(entry["cmd"], str) and all(
        {"path", "md5", "hash"} <= set(file) for file in files
    )


def keep_dvc_lock(folder: Path = PRIVATE) -> None:
    """Keeps a copy of `dvc.lock` for the next mending."""
    if DVC_LOCK.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "dvc.lock", DVC_LOCK.read_text(encoding="utf-8"))


def _parses(content: bytes) -> bool:
    try:
        document = parse_yaml(content.decode(), DVC_LOCK)
        return "schema" in document and all(
            _is_stage(entry) for entry in document["stages"].values()
        )
    except (Refusal, UnicodeDecodeError, KeyError, AttributeError, TypeError):
        return False
