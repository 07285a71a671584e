"""List the images of a folder and their classes, in the same order on every machine.

Hidden files and folders (names beginning with a dot) and files of operating systems are ignored.
Class names are compared in Unicode's form NFC: macOS may write another form than Linux.
"""

import bisect
import itertools
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from pipeline.data.paths import is_inside, printable
from pipeline.runtime.errors import Refusal

SPLITS = {"train": "pool", "val": "validation", "test": "test"}  # folder -> field of `Splits`
MINIMUM = 2  # images of a class: a single one cannot be split
NAMED = 5  # names in one line
SYSTEM = (
    "__MACOSX",
    "Thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "Desktop.ini",
    "@eaDir",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
)  # names of files and folders that operating systems add


@dataclass(frozen=True)
class Layout:
    """The sorted class names in NFC, and the folder of each split that holds their folders."""

    classes: tuple[str, ...]
    folders: dict[str, Path]

    def minimum(self, split: str) -> int:
        """Return the number of images that a class needs in a split.

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
        state = "a file" if root.exists() else "missing"
        raise _refusal(f"source.path: {root}: {state}; expected a folder with one for each class")
    folders = _split_folders(_unwrapped(root, SPLITS))
    for folder in folders.values():
        _require_flat(folder)
    classes = {split: _classes(folder) for split, folder in folders.items()}
    for split, folder in folders.items():
        if different := sorted(set(classes[split]) ^ set(classes["pool"])):
            raise _refusal(
                f"{folder}: {first_names(different)}: not in both this folder and train; "
                "expected the same classes in every split"
            )
    return Layout(classes["pool"], folders)


class Files(Sequence[Path]):
    """The paths of files, stored as names by folder.

    Args:
        names: The sorted names of the files of each folder.
    """

    def __init__(self, names: Mapping[Path, Sequence[str]]):
        self.folders = list(names)
        self.names = [name for files in names.values() for name in files]
        self.ends = list(itertools.accumulate(len(files) for files in names.values()))

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.names)

    @overload
    def __getitem__(self, chosen: int) -> Path: ...
    @overload
    def __getitem__(self, chosen: slice) -> list[Path]: ...
    def __getitem__(self, chosen: int | slice) -> Path | list[Path]:
        """Return a path, or the paths of a slice."""
        if isinstance(chosen, slice):
            return [self[number] for number in range(*chosen.indices(len(self)))]
        name = self.names[chosen]
        return self.folders[bisect.bisect_right(self.ends, chosen)] / name


def list_images(
    folder: Path, classes: Sequence[str], minimum: int
) -> tuple[Files, NDArray[np.int64]]:
    """Return every file in the class folders, sorted, and its label."""
    names: dict[str, dict[Path, list[str]]] = {name: {} for name in classes}
    for name in _folders(folder):
        names[_composed(name)][folder / name] = sorted(_visible_names(folder / name))
    files = Files(
        {place: listed for of_class in names.values() for place, listed in of_class.items()}
    )
    counts = [sum(map(len, of_class.values())) for of_class in names.values()]
    labels = np.repeat(np.arange(len(classes)), counts)
    require_images(folder, classes, labels, minimum)
    return files, labels


def joined_classes(folder: Path) -> list[str]:
    """Return the classes with several folders, whose names differ in their Unicode form only."""
    counts = Counter(_composed(name) for name in _folders(folder))
    return [name for name, count in counts.items() if count > 1]


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
            f"{folder}: too few images of {first_names(few)}; expected >= {minimum} of each class, "
            "or its folder left out"
        )


def first_names(names: Sequence[str]) -> str:
    """Return the first names, and how many others there are."""
    others = f" and {_number(len(names) - NAMED, 'other')}" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + others


def _refusal(line: str) -> Refusal:
    return Refusal(printable(line))  # the names of folders may hold anything


def _unwrapped(folder: Path, closed: Collection[str] = ()) -> Path:
    """Return the folder below folders with one folder each, as archives leave them.

    A folder whose name is in `closed` is not opened.
    """
    names = _folders(folder)
    if len(names) == 1 and names[0] not in closed and _folders(folder / names[0]):
        return _unwrapped(folder / names[0], closed)
    return folder


def _split_folders(root: Path) -> dict[str, Path]:
    names = _folders(root)
    if not any(name in SPLITS and _folders(root / name) for name in names):
        return {"pool": root}  # a class may be called train
    if (root / "val" / "val_annotations.txt").is_file():
        raise _refusal(
            f"{root}: the layout of Tiny ImageNet (val/val_annotations.txt, train/<class>/images); "
            "expected images in train/<class> and val/<class>, and no test without labels"
        )
    if "train" not in names or set(names) - set(SPLITS):
        raise _refusal(
            f"{root}: folders {first_names(names)}; "
            "expected classes, or train with optional val and test"
        )
    return {SPLITS[name]: _unwrapped(root / name) for name in names}


def _require_flat(folder: Path) -> None:
    """Check that the class folders hold files.

    Raises:
        Refusal: One holds only folders.
    """
    for name in _folders(folder):
        if all(path.is_dir() for path in _visible(folder / name)):
            subfolders = sorted(path.name for path in _visible(folder / name))
            if subfolders:
                raise _refusal(
                    f"{folder / name}: folders {first_names(subfolders)} and no image; expected "
                    "<class>/<image>, or <split>/<class>/<image> with splits train, val and test"
                )


def _classes(folder: Path) -> tuple[str, ...]:
    names = sorted({_composed(name) for name in _folders(folder)})
    if len(names) < MINIMUM:
        files = sum(path.is_file() for path in _visible(folder))
        raise _refusal(
            f"{folder}: {_number(len(names), 'folder')} of classes; expected >= {MINIMUM}, "
            f"one for each class; {_number(files, 'file')} beside them"
        )
    counts = Counter(name.casefold() for name in names)
    if same := [name for name in names if counts[name.casefold()] > 1]:
        raise _refusal(
            f"{folder}: {first_names(same)} differ only in case; "
            "expected names that differ on every file system"
        )
    return tuple(names)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folders(folder: Path) -> list[str]:
    broken = [path.name for path in _visible(folder) if path.is_symlink() and not path.exists()]
    if broken:
        raise _refusal(
            f"{folder}: {first_names(sorted(broken))}: links to what is missing; expected folders"
        )
    folders = sorted(path for path in _visible(folder) if path.is_dir())
    links = [path.name for path in folders if path.is_symlink() and not is_inside(path, folder)]
    if links:
        raise _refusal(f"{folder}: {first_names(links)}: links out of the folder; expected folders")
    return [path.name for path in folders]


def _visible(folder: Path) -> Iterator[Path]:
    return (folder / name for name in _visible_names(folder))


def _visible_names(folder: Path) -> Iterator[str]:
    for name in os.listdir(folder):
        if not name.startswith(".") and name not in SYSTEM:
            yield name
