"""Whether this machine and this folder are fit for work: one line each, with the mend.

Separate because it looks at everything around the project and at nothing in it.
"""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from packaging.requirements import Requirement

from pipeline.config.parameters import read_parameters
from pipeline.execution.dvc_lock import DVC_LOCK, is_sound
from pipeline.execution.processes import cores
from pipeline.records.store import open_store
from pipeline.runtime.locks import who_holds
from pipeline.tracking.mirror import MODES, has_key, mode_of

OLDEST = 3, 11
ROOM = 1 << 30  # bytes that should be free
SETUP = "make setup"


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found, and the mend; no mend where all is well."""

    what: str
    found: str
    mend: str = ""

    def line(self) -> str:
        """One line: ok, or what to do."""
        return f"{'mend' if self.mend else 'ok':<5}{self.what:<11}{self.found}{f'; {self.mend}' if self.mend else ''}"


def findings() -> Iterator[Finding]:
    """Every look, in the order of what needs what."""
    looks: tuple[Callable[[], Finding], ...] = (
        _python,
        _packages,
        _torch,
        _threads,
        _git,
        _dvc,
        _lock,
        _wandb,
        _store,
        _disk,
    )
    yield from (look() for look in looks)


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    fit = sys.version_info[:2] >= OLDEST
    return Finding(
        "Python",
        found,
        "" if fit else f"needed is {OLDEST[0]}.{OLDEST[1]} or newer: make PYTHON=python3.12 setup",
    )


def _packages() -> Finding:
    """Whether every pinned package is there in the version that was tested."""
    pinned = [
        Requirement(text)
        for text in importlib.metadata.requires("gapwise") or ()
        if "extra" not in text
    ]
    other = [str(item) for item in pinned if not _is_installed(item)]
    found = f"{len(pinned) - len(other)} of {len(pinned)} as pinned"
    return Finding("packages", found, f"needed: {', '.join(other[:3])}: {SETUP}" if other else "")


def _is_installed(item: Requirement) -> bool:
    try:
        return item.specifier.contains(
            importlib.metadata.version(item.name).partition("+")[0], prereleases=True
        )
    except importlib.metadata.PackageNotFoundError:
        return False


def _torch() -> Finding:
    devices = f"{torch.cuda.device_count()} GPUs" if torch.cuda.device_count() else "no GPU"
    return Finding(
        "torch", f"{torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {devices}"
    )


def _threads() -> Finding:
    workers = read_parameters().execution.workers or cores()
    found = f"{cores()} processors, {workers} workers of one thread each"
    return Finding(
        "threads",
        found,
        "" if workers <= cores() else f"set execution.workers to {cores()} at most: params.yaml",
    )


def _git() -> Finding:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    if found.returncode:
        return Finding("git", "no commit here", "git init && git add -A && git commit -m start")
    changed = subprocess.run(
        ["git", "status", "--porcelain"], capture_output=True, text=True, check=False
    ).stdout
    return Finding("git", f"at {found.stdout.strip()}, files changed: {len(changed.splitlines())}")


def _dvc() -> Finding:
    found = f"{importlib.metadata.version('dvc')}"
    return Finding("DVC", found, "" if Path(".dvc").is_dir() else "no .dvc folder here: dvc init")


def _lock() -> Finding:
    if DVC_LOCK.exists() and not is_sound(DVC_LOCK):
        return Finding("dvc.lock", "does not parse", "make run restores it")
    holder = who_holds()
    return Finding(
        "dvc.lock", f"sound; process {holder} is at work" if holder else "sound; nobody is at work"
    )


def _wandb() -> Finding:
    mode = mode_of(read_parameters().tracking)
    if not _is_there("wandb"):
        return Finding("W&B", "not installed", SETUP)
    if mode not in MODES:
        return Finding(
            "W&B", f"WANDB_MODE is {mode!r}", f"allowed are {', '.join(MODES)}: unset WANDB_MODE"
        )
    wanting = "no key found: wandb login" if mode == "online" and not has_key() else ""
    return Finding("W&B", f"{importlib.metadata.version('wandb')}, {mode}", wanting)


def _is_there(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _store() -> Finding:
    root = open_store().root
    runs = len(list(root.glob("[!.]*/record.json")))
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    fit = os.access(place, os.W_OK) and place.is_dir()
    return Finding(
        "run store", f"{root}, {runs} runs", "" if fit else "not writable: GAPWISE_STORE moves it"
    )


def _disk() -> Finding:
    root = open_store().root
    free = shutil.disk_usage(
        next(folder for folder in (root, *root.parents) if folder.is_dir())
    ).free
    return Finding(
        "disk",
        f"{free / (1 << 30):.1f} GiB free",
        "" if free > ROOM else "free 1 GiB, or move it: GAPWISE_STORE",
    )
