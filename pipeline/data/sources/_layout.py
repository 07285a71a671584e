"""List the images of a folder and their classes, in the same order on every machine.

Hidden files and folders (names beginning with a dot) are ignored.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.paths import is_inside, printable
from pipeline.runtime.errors import Refusal

SPLITS = {"train": "pool", "val": "validation", "test": "test"}  # folder -> field of `Splits`
MINIMUM = 2  # images of a class: one alone cannot be split


@dataclass(frozen=True)
class Layout:
    """The sorted class names, and the folder of each split that holds their folders."""

    classes: tuple[str, ...]
    folders: dict[str, Path]

    def minimum(self, split: str) -> int:
        """Return how many images a class needs in a split.

        The pool needs one to train on and one for each split without a folder.
        """
        drawn = 1 + len(SPLITS) - len(self.folders) if split == "pool" else 0
        return max(MINIMUM, drawn)


def find_layout(root: Path) -> Layout:
    """Return the layout that the folder names give.

    Raises:
        Refusal: They give none.
    """
    if not root.is_dir():
        raise _refusal(f"source.path: {root}: missing; expected a folder with one for each class")
    folders = _split_folders(root)
    classes = {split: _classes(folder) for split, folder in folders.items()}
    for split, folder in folders.items():
        if different := sorted(set(classes[split]) ^ set(classes["pool"])):
            raise _refusal(
                f"{folder}: {', '.join(different)}: not in both this folder and train; "
                "expected the same classes in every split"
            )
    return Layout(classes["pool"], folders)


def list_images(
    folder: Path, classes: Sequence[str], minimum: int
) -> tuple[list[Path], NDArray[np.int64]]:
    """Return every file in the class folders, sorted, and its label."""
    files = [sorted(_visible(folder / name)) for name in classes]
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in files])
    require_images(folder, classes, labels, minimum)
    return [path for paths in files for path in paths], labels


def require_images(
    folder: Path, classes: Sequence[str], labels: NDArray[np.int64], minimum: int
) -> None:
    """Check that every class has at least `minimum` images.

    Raises:
        Refusal: A class has fewer.
    """
    counts = zip(classes, np.bincount(labels, minlength=len(classes)), strict=True)
    if few := [f"{name} ({count})" for name, count in counts if count < minimum]:
        raise _refusal(
            f"{folder}: too few images of {', '.join(few)}; expected >= {minimum} of each class"
        )


def _refusal(line: str) -> Refusal:
    return Refusal(printable(line))  # the names of folders may hold anything


def _split_folders(root: Path) -> dict[str, Path]:
    names = _folders(root)
    if not any(name in SPLITS and _folders(root / name) for name in names):
        return {"pool": root}  # a class may be called train
    if "train" not in names or set(names) - set(SPLITS):
        raise _refusal(
            f"{root}: folders {', '.join(names)}; "
            "expected classes, or train with optional val and test"
        )
    return {SPLITS[name]: root / name for name in names}


def _classes(folder: Path) -> tuple[str, ...]:
    names = _folders(folder)
    if len(names) < MINIMUM:
        raise _refusal(f"{folder}: {len(names)} folders of classes; expected >= {MINIMUM}")
    counts = Counter(name.casefold() for name in names)
    if same := [name for name in names if counts[name.casefold()] > 1]:
        raise _refusal(
            f"{folder}: {' and '.join(same)} differ only in case; "
            "expected names that differ on every file system"
        )
    return tuple(names)


def _folders(folder: Path) -> list[str]:
    folders = sorted(path for path in _visible(folder) if path.is_dir())
    links = [path.name for path in folders if path.is_symlink() and not is_inside(path, folder)]
    if links:
        raise _refusal(f"{folder}: {', '.join(links)}: links out of the folder; expected folders")
    return [path.name for path in folders]


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]
