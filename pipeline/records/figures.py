"""Check whether the figures of a report were drawn from its present tables by the present code.

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
KINDS = ("png", "svg")  # of a figure, as the endings of its files
CODE = ("**/*.py",)
LIBRARIES = ("matplotlib", "numpy", "pandas", "seaborn")
INPUTS = ("*.csv", "choice.json", "test_use.json", "*/plan.json", "data/*.json")
TIMING = "timing.csv"  # no input of a figure


def current_figures(artifacts: Path, folder: Path) -> dict[str, bytes]:
    """Return the PNG and SVG of every figure in a folder; empty if one may be outdated.

    Args:
        artifacts: The folder of the protocol's artifacts.
        folder: The figures of its report, whether there are any or not.

    Returns:
        The content of every file by its name.
    """
    paths = sorted(path for kind in KINDS for path in folder.glob(f"*.{kind}"))
    figures = {path.name: path.read_bytes() for path in paths}
    current = _described(artifacts, figures).items() <= read_mapping(artifacts / DRAWN).items()
    return figures if current else {}


def note_figures(artifacts: Path, figures: Mapping[str, bytes]) -> None:
    """Store the digest of the tables and the code from which figures were drawn.

    Args:
        artifacts: The folder of the protocol's artifacts, to which the note is written.
        figures: The content of each figure, by file name.
    """
    write_sealed(artifacts / DRAWN, _described(artifacts, figures))


def _described(artifacts: Path, figures: Mapping[str, bytes]) -> dict[str, object]:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in figures.items()}
    return {"inputs": _input_digest(artifacts), "figures": digests}


def _input_digest(artifacts: Path) -> str:
    """Return the digest of all that figures depend on: artifacts, this package and libraries."""
    digest = hashlib.sha256()
    for library in LIBRARIES:
        digest.update(f"{library} {version(library)}\n".encode())
    for root, patterns in ((artifacts, INPUTS), (PACKAGE, CODE)):
        paths = {path for pattern in patterns for path in root.glob(pattern)}
        for path in sorted(paths - {artifacts / TIMING}):
            digest.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
