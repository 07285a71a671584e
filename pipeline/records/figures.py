"""Know whether the figures of a report are those of its present tables and of the present code.

Drawing takes most of the time of a report, the import of matplotlib included.
"""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from pipeline.records.runs import read_mapping
from pipeline.runtime.behaviour import PACKAGE
from pipeline.runtime.files import write_sealed

DRAWN = "figures.json"  # digests of the figures and of what they were drawn from
LIBRARIES = ("matplotlib", "numpy", "pandas", "seaborn")
INPUTS = ("*.csv", "*.json", "*/*.json")  # below the artifacts of a protocol
NO_INPUTS = (DRAWN, "timing.csv")


def current_figures(artifacts: Path, folder: Path) -> dict[str, bytes]:
    """Return the PNG of every figure in a folder, by file name; empty where one may be outdated.

    Args:
        artifacts: The folder of the protocol's artifacts.
        folder: The figures of its report, whether there are any or not.
    """
    figures = {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}
    current = _described(artifacts, figures).items() <= read_mapping(artifacts / DRAWN).items()
    return figures if current else {}


def note_figures(artifacts: Path, figures: Mapping[str, bytes]) -> None:
    """Store from which tables and which code figures were drawn."""
    write_sealed(artifacts / DRAWN, _described(artifacts, figures))


def _described(artifacts: Path, figures: Mapping[str, bytes]) -> dict[str, object]:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in figures.items()}
    return {"inputs": _input_digest(artifacts), "figures": digests}


def _input_digest(artifacts: Path) -> str:
    """Return the digest of all that figures depend on: artifacts, this package and libraries."""
    digest = hashlib.sha256()
    for library in LIBRARIES:
        digest.update(f"{library} {version(library)}\n".encode())
    found = {path for pattern in INPUTS for path in artifacts.glob(pattern)}
    inputs = sorted(path for path in found if path.name not in NO_INPUTS)
    for path in [*inputs, *sorted(PACKAGE.rglob("*.py"))]:
        digest.update(f"{path} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
