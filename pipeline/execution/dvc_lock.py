"""Repair DVC's locks after a kill: a corrupted `dvc.lock`, and paths locked by ended processes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config.yaml_files import parse_yaml
from pipeline.execution.git import git
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import write_bytes
from pipeline.runtime.locks import RUN_LOCK, is_running

DVC_LOCK = Path("dvc.lock")
COPY = RUN_LOCK.with_name("dvc.lock")
PATH_LOCKS = RUN_LOCK.parent.with_name("rwlock")  # which processes of DVC read or write which paths


def repair_dvc_lock() -> str:
    """Restore a corrupted `dvc.lock` from the last good copy or from git; return a line on it."""
    lock = DVC_LOCK.read_bytes() if DVC_LOCK.exists() else None
    copy = COPY.read_bytes() if COPY.exists() else None
    if lock is None or lock == copy or is_sound(lock):  # to parse one takes half a second
        return ""
    sources = {"the last good copy": copy or b"", "git": _committed_lock()}
    for name, content in sources.items():
        if is_sound(content):
            write_bytes(DVC_LOCK, content)
            return f"dvc.lock was corrupted, probably by a kill; restored from {name}"
    DVC_LOCK.unlink()
    return (
        "dvc.lock was corrupted, probably by a kill, and there is no good copy; "
        "removed: finished runs are kept"
    )


def _committed_lock() -> bytes:
    """Return `dvc.lock` as the last commit has it in this folder; nothing if there is none."""
    try:
        return git("show", f"HEAD:./{DVC_LOCK}")
    except Refusal:
        return b""


def release_dead_locks() -> None:
    """Remove the locks of processes that have ended from DVC's list of locked paths.

    DVC does so itself, but takes a process that its parent has not waited for (a zombie) as alive;
    in a container that may be so for minutes.
    """
    try:
        locks = json.loads(PATH_LOCKS.read_bytes())
    except (OSError, ValueError):  # there are none, or DVC is writing them
        return
    writing = {path: one for path, one in locks.get("write", {}).items() if _is_alive(one)}
    reading = {}
    for path, holders in locks.get("read", {}).items():
        alive = [holder for holder in holders if _is_alive(holder)]
        if alive:
            reading[path] = alive
    write_bytes(PATH_LOCKS, json.dumps({"write": writing, "read": reading}).encode())


def _is_alive(holder: Mapping[str, Any]) -> bool:
    return is_running(int(holder["pid"]))


def keep_dvc_lock() -> None:
    """Keep a copy of `dvc.lock` for the next repair."""
    if DVC_LOCK.exists():
        COPY.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(COPY, DVC_LOCK.read_bytes())


def is_sound(content: bytes) -> bool:
    """Return whether the content of a lock file can be parsed and all stages are complete.

    Args:
        content: The bytes of a `dvc.lock`.
    """
    try:
        document = parse_yaml(content.decode(), DVC_LOCK)
        return "schema" in document and all(map(_is_stage, document["stages"].values()))
    except (Refusal, UnicodeDecodeError, KeyError, AttributeError, TypeError):
        return False


def _is_stage(entry: Any) -> bool:
    """Return whether an entry is complete for DVC: a command, and files with a path and a hash."""
    files = [file for kind in ("deps", "outs") for file in entry.get(kind, ())]
    return isinstance(entry["cmd"], str) and all(
        {"path", "md5", "hash"} <= set(file) for file in files
    )
