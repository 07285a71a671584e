"""Digest the inputs of a stage besides its data: settings files and code."""

import hashlib
import json
from pathlib import Path

from pipeline.config.parameters import EXPERIMENTS, PARAMETERS, PROTOCOLS
from pipeline.runtime.behaviour import PACKAGE

CODE = "the code of pipeline"


def input_digests() -> dict[str, str]:
    """Return the sha256 of `params.yaml`, of every file of settings and of the package, by name."""
    settings = [PARAMETERS, *sorted(EXPERIMENTS.rglob("*.yaml"))]
    digests = {str(path): _digest(path) for path in settings if path.is_file()}
    return digests | {CODE: package_digest()}


def changed_inputs(before: dict[str, str], protocol: str | None = None) -> list[str]:
    """Return the names of the inputs that are new or differ from those in `before`.

    Args:
        before: Their digests then.
        protocol: The protocol whose inputs they are: the files of other protocols are none. None
            for all inputs.
    """
    changed = [name for name, digest in input_digests().items() if before.get(name) != digest]
    if protocol is None:
        return changed
    file = PROTOCOLS / f"{protocol}.yaml"
    return [name for name in changed if Path(name) == file or Path(name).parent != PROTOCOLS]


def package_digest() -> str:
    """Return the sha256 of every source file of this package, byte for byte."""
    files = sorted(PACKAGE.rglob("*.py"))
    sums = {file.relative_to(PACKAGE).as_posix(): _digest(file) for file in files}
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
