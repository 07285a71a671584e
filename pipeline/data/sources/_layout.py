"""Which files of a folder are examples of which class, in an order that is the same everywhere.

Separate from reading them: this much is cheap, and enough to plan with. Names that begin with a dot are no part of it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.paths import printable
from pipeline.runtime.errors import Refusal

PARTS = {"train": "pool", "val": "validation", "test": "test"}  # folder -> what it is to us
FEWEST = 2  # images of a class: fewer cannot be split


@dataclass(frozen=True)
class Layout:
    """The classes, sorted, and the folder in which each part has theirs."""

    classes: tuple[str, ...]
    parts: dict[str, Path]

    def fewest(self, part: str) -> int:
        """Images that a class needs there: one to train on and, from the pool, one for each part without a folder."""
        return max(FEWEST, 1 + len(PARTS) - len(self.parts)) if part == "pool" else FEWEST


def layout(root: Path) -> Layout:
    """What the folder names say. Raises Refusal where they are not classes, the same ones in every part."""
    if not root.is_dir():
        raise _refusal(
            f"source.path: {root} is no folder; allowed is a folder that holds one folder for each class"
        )
    parts = _parts(root)
    classes = {part: _classes(folder) for part, folder in parts.items()}
    for part, folder in parts.items():
        if odd := set(classes[part]) ^ set(classes["pool"]):
            raise _refusal(
                f"{folder}: other classes than train: {', '.join(sorted(odd))}; allowed are the same in every part"
            )
    return Layout(classes["pool"], parts)


def files(
    folder: Path, classes: Sequence[str], fewest: int
) -> tuple[list[Path], NDArray[np.int64]]:
    """Every file below the folders of the classes, and its label, sorted. Raises Refusal where a class has too few."""
    paths = [sorted(_visible(folder / name)) for name in classes]
    labels = np.repeat(np.arange(len(classes)), [len(found) for found in paths])
    require_enough(folder, classes, labels, fewest)
    return [path for found in paths for path in found], labels


def require_enough(
    folder: Path, classes: Sequence[str], labels: NDArray[np.int64], fewest: int
) -> None:
    """Raises Refusal where a class has fewer images than that."""
    counts = np.bincount(labels, minlength=len(classes))
    if few := [
        f"{name} ({count})" for name, count in zip(classes, counts, strict=True) if count < fewest
    ]:
        raise _refusal(
            f"{folder}: too few images of {', '.join(few)}; allowed are {fewest} or more of each class"
        )


def is_inside(path: Path, folder: Path) -> bool:
    """Whether what a path leads to, links followed, lies in the folder."""
    return path.resolve().is_relative_to(folder.resolve())


def _refusal(line: str) -> Refusal:
    return Refusal(printable(line))  # folders may be called anything


def _parts(root: Path) -> dict[str, Path]:
    names = _folders(root)
    if not any(
        name in PARTS and _folders(root / name) for name in names
    ):  # a class may well be called train
        return {"pool": root}
    if "train" not in names or set(names) - set(PARTS):
        raise _refusal(
            f"{root}: holds {', '.join(names)}; allowed are folders of classes, or train with val and test beside it"
        )
    return {PARTS[name]: root / name for name in names}


def _classes(folder: Path) -> tuple[str, ...]:
    names = _folders(folder)
    if len(names) < FEWEST:
        raise _refusal(f"{folder}: {len(names)} folders of classes; allowed are {FEWEST} or more")
    folded = Counter(name.casefold() for name in names)
    if same := [name for name in names if folded[name.casefold()] > 1]:
        raise _refusal(
            f"{folder}: {' and '.join(same)} differ in case alone; allowed are names that no file system mixes up"
        )
    return tuple(names)


def _folders(folder: Path) -> list[str]:
    found = sorted(path for path in _visible(folder) if path.is_dir())
    if away := [path.name for path in found if path.is_symlink() and not is_inside(path, folder)]:
        raise _refusal(
            f"{folder}: {', '.join(away)}: links out of the folder; allowed are folders in it"
        )
    return [path.name for path in found]


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]
