"""What all machines of a cluster must have in common, and the line that says which of them has not.

Separate from the cluster, which carries questions and answers: these are plain values, made on either side.
"""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.execution.sharing import answer, answered
from pipeline.planning.fingerprint import package_digest, versions

OFFENDER = "execution.executor: node"


def report(folders: Sequence[str], question: str, who: str) -> dict[str, Any]:
    """What this node is, and what keeps it from each folder ("" for nothing)."""
    return {
        "facts": facts(),
        "token": os.environ.get("RAY_AUTH_MODE", "").lower() == "token",
        "folders": {folder: answer(Path(folder), question, who) for folder in folders},
    }


def facts() -> dict[str, str]:
    """What must be equal everywhere for one run to give the same bytes everywhere."""
    return {
        "Python": platform.python_version(),
        **versions(),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "code of pipeline": package_digest()[:12],
    }


def complaint(told: Mapping[str, Any], place: str, question: str, who: str) -> str:
    """One line on the first thing that keeps the node at `place` from work, nothing where all is well."""
    for folder, trouble in told["folders"].items():
        trouble = trouble or (
            "" if answered(Path(folder), question, who) else "sees a folder of its own in place of"
        )
        if trouble:
            need = (
                "needed is one file system that all nodes share (GAPWISE_STORE moves the run store)"
            )
            return f"{OFFENDER} {place} {trouble} {folder}; {need}"
    for name, ours in facts().items():
        if told["facts"].get(name) != ours:
            theirs = told["facts"].get(name)
            return f"{OFFENDER} {place} has {name} {theirs}, this machine {ours}; needed is the same on every node"
    if not told["token"]:
        return f"{OFFENDER} {place} asks for no token; needed is RAY_AUTH_MODE=token where `ray start` is called"
    return ""
