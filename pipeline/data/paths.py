"""Resolve paths as users write them, and escape names for a terminal."""

import os
from pathlib import Path


def expand_user(path: str) -> Path:
    """Return a path of the settings with a leading ~ replaced by the home folder."""
    return Path(os.path.expanduser(path))  # Path.expanduser raises for an unknown user


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether a path, with its links followed, lies in the folder."""
    return path.resolve().is_relative_to(folder.resolve())


def printable(text: str) -> str:
    """Return the text with every character escaped that a terminal cannot show or would act on."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
