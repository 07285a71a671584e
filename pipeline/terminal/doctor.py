"""Print the output of `gapwise doctor`: checks of this machine and folder, one line each."""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from packaging.requirements import Requirement

from pipeline.config.parameters import read_parameters
from pipeline.config.validation import one_of
from pipeline.execution.dvc_lock import DVC_LOCK, is_sound
from pipeline.execution.experiments import copy_problem
from pipeline.execution.git import git, git_problem
from pipeline.execution.processes import cores
from pipeline.execution.stage import Incomplete
from pipeline.records.store import open_store
from pipeline.runtime.behaviour import PACKAGE
from pipeline.runtime.locks import lock_holder
from pipeline.runtime.surroundings import hidden_module
from pipeline.tracking.mirror import MODES, has_key, mode_of

OLDEST = 3, 11
ROOM = 1 << 30  # bytes that should be free
SETUP = "make setup"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: What was checked.
        state: Its state.
        remedy: What to do; "" if nothing is wrong.
    """

    name: str
    state: str
    remedy: str = ""

    def line(self) -> str:
        """Return one line: ok, or what to fix."""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{'fix' if self.remedy else 'ok':<5}{self.name:<11}{self.state}{remedy}"


def show_doctor() -> None:
    """Print a line for every check.

    Raises:
        Incomplete: A check has found a problem.
    """
    problems = 0
    for finding in findings():
        print(finding.line())
        problems += bool(finding.remedy)
    if problems:
        raise Incomplete(f"{problems} to fix")


def findings() -> Iterator[Finding]:
    """Yield the result of every check; later checks need what earlier ones cover."""
    checks = (
        *(_python, _packages, _code, _modules, _torch, _threads),
        *(_git, _dvc, _lock, _wandb, _store, _disk),
    )
    yield from (check() for check in checks)


def _python() -> Finding:
    version = f"{platform.python_version()} at {sys.executable}"
    fit = sys.version_info[:2] >= OLDEST
    remedy = f"expected {OLDEST[0]}.{OLDEST[1]} or newer: make PYTHON=python3.12 setup"
    return Finding("Python", version, "" if fit else remedy)


def _packages() -> Finding:
    """Check that every pinned package is installed in the version that was tested."""
    required = importlib.metadata.requires("gapwise") or ()
    pinned = [Requirement(text) for text in required if "extra" not in text]
    other = [str(item) for item in pinned if not _is_installed(item)]
    state = f"{len(pinned) - len(other)} of {len(pinned)} as pinned"
    return Finding("packages", state, f"expected {', '.join(other[:3])}: {SETUP}" if other else "")


def _is_installed(item: Requirement) -> bool:
    try:
        version = importlib.metadata.version(item.name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return False
    return item.specifier.contains(version, prereleases=True)


def _code() -> Finding:
    """Check that the stages, which run the code of this folder, run that of this command."""
    here = Path.cwd()
    other = (here / PACKAGE.name).is_dir() and PACKAGE.parent != here
    remedy = f"the stages run {here / PACKAGE.name}: python -m pipeline doctor"
    return Finding("code", str(PACKAGE), remedy if other else "")


def _modules() -> Finding:
    hiding = hidden_module(os.getcwd())
    remedy = "hides a module that is needed: rename it" if hiding else ""
    return Finding("modules", hiding or "no module is hidden by a file of this folder", remedy)


def _torch() -> Finding:
    count = torch.cuda.device_count()
    devices = f"{count} GPUs" if count else "no GPU"
    capability = torch.backends.cpu.get_cpu_capability()
    return Finding("torch", f"{torch.__version__}, {capability}, {devices}")


def _threads() -> Finding:
    workers = read_parameters().execution.workers or cores()
    state = f"{cores()} processors, {workers} workers of one thread each"
    remedy = f"params.yaml: execution.workers: expected an integer <= {cores()}"
    return Finding("threads", state, "" if workers <= cores() else remedy)


def _git() -> Finding:
    problem, _, remedy = git_problem().partition("; run: ")
    if problem:
        return Finding("git", problem, remedy or "install it")
    commit = git("rev-parse", "--short", "HEAD").decode().strip()
    if problem := copy_problem():
        return Finding("git", f"at {commit}", f"no study can run alone: {problem}")
    changed = len(git("status", "--porcelain").splitlines())
    return Finding("git", f"at {commit}, files changed: {changed}")


def _dvc() -> Finding:
    version = f"{importlib.metadata.version('dvc')}"
    inside = not Path(".git").exists() and not git_problem()
    remedy = f"no .dvc folder here: dvc init{' --subdir' if inside else ''}"
    return Finding("DVC", version, "" if Path(".dvc").is_dir() else remedy)


def _lock() -> Finding:
    if DVC_LOCK.exists() and not is_sound(DVC_LOCK.read_bytes()):
        return Finding("dvc.lock", "does not parse", "make run restores it")
    holder = lock_holder()
    runs = f"process {holder} is running" if holder else "no run in progress"
    return Finding("dvc.lock", f"valid; {runs}")


def _wandb() -> Finding:
    mode = mode_of(read_parameters().tracking)
    try:
        version = importlib.metadata.version("wandb")
    except importlib.metadata.PackageNotFoundError:
        return Finding("W&B", "not installed", SETUP)
    if mode not in MODES:
        expected = f"expected {one_of(MODES)}; run: unset WANDB_MODE"
        return Finding("W&B", f"WANDB_MODE is {mode!r}", expected)
    missing = "no key found: wandb login" if mode == "online" and not has_key() else ""
    return Finding("W&B", f"{version}, {mode}", missing)


def _store() -> Finding:
    root = open_store().root
    runs = len(list(root.glob("[!.]*/record.json")))
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    fit = os.access(place, os.W_OK) and place.is_dir()
    remedy = "" if fit else "not writable: GAPWISE_STORE moves it"
    return Finding("run store", f"{root}, {runs} runs", remedy)


def _disk() -> Finding:
    root = open_store().root
    place = next(folder for folder in (root, *root.parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    remedy = "" if free > ROOM else "free 1 GiB, or move it: GAPWISE_STORE"
    return Finding("disk", f"{free / (1 << 30):.1f} GiB free", remedy)
