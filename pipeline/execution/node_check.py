"""Check that a machine gives the same bytes as another one and shares its folders.

The first machine makes a probe, a new folder in every shared folder. The other machine searches for
the probes and leaves an answer in each, for which the first machine then searches.
"""

import contextlib
import functools
import os
import platform
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.execution.inputs import package_digest
from pipeline.planning.fingerprint import versions

SHARE_SECONDS = 5.0  # network file systems show new files late
SHARED = "expected one file system that all nodes share (GAPWISE_STORE moves the run store)"


@functools.cache
def facts() -> dict[str, str]:
    """Return the facts that must be equal on all nodes for a run to give the same bytes on each."""
    import torch  # here, since stages that meet no other node import this file too

    return {
        "Python": platform.python_version(),
        **versions(),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "code of pipeline": package_digest()[:12],
    }


@contextlib.contextmanager
def probes(folders: Sequence[Path]) -> Iterator[str]:
    """Make a folder with a new name in every folder within the context; yield the name.

    Args:
        folders: Shared folders.
    """
    name = f".probe.{uuid.uuid4().hex}"
    try:
        for folder in folders:
            (folder / name).mkdir(parents=True)
        yield name
    finally:
        for folder in folders:
            shutil.rmtree(folder / name, ignore_errors=True)


def problem(ours: Mapping[str, str], folders: Sequence[str], probe: str, node: str) -> str:
    """Return the problem of this node, otherwise "", and leave its answer in every probe.

    Args:
        ours: The facts of the machine that makes the check, as `facts` returns them.
        folders: Shared folders.
        probe: The name that `probes` yields.
        node: The name of this node.
    """
    for folder in folders:
        place = Path(folder, probe)
        if not _soon(place.is_dir):
            return f"does not see {folder}; {SHARED}"
        if not _soon(functools.partial((place / node).write_text, node)):
            return f"cannot write to {folder}; {SHARED}"
    for fact, theirs in facts().items():
        if ours.get(fact) != theirs:
            return (
                f"has {fact} {theirs}, this machine {ours.get(fact)}; expected the same everywhere"
            )
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return "requires no token; expected RAY_AUTH_MODE=token where `ray start` is called"
    return ""


def hidden(folders: Sequence[Path], probe: str, node: str) -> str:
    """Return an error if a folder lacks the answer of a node: it is not shared; otherwise "".

    Args:
        folders: Shared folders.
        probe: The name that `probes` yields.
        node: The name of the node.
    """
    for folder in folders:
        if not _soon((folder / probe / node).exists):
            return f"has another folder at the place of {folder}; {SHARED}"
    return ""


def _soon(check: Callable[[], object]) -> bool:
    end = time.monotonic() + SHARE_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if check():
                return True
        time.sleep(0.1)
    return False
